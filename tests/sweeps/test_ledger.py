"""The ledger of a sweep: whose folder it is, and where it goes on."""

import json

import pytest

from condiff.errors import ConfigError, EnvironmentFault
from condiff.sweeps.ledger import DONE, FAILED, RUNNING, WAITING, Entry, open_ledger


def opened(folder, identity="a", is_named=False, num_jobs=0):
    return open_ledger(folder, is_named, identity, "python run.py -m x=1,2", num_jobs)


def with_jobs(folder, *statuses, **how):
    ledger = opened(folder, **how)
    ledger.entries = [Entry(str(place), [f"x={place}"], status) for place, status in enumerate(statuses)]
    ledger.write()
    ledger.close()
    return folder


def test_a_ledger_is_read_as_it_was_written(tmp_path):
    ledger = opened(tmp_path / "one")
    ledger.entries = [Entry("0", ["x=1"])]
    ledger.set(0, status=FAILED, code=5, error="error[5]: it diverged", seconds=1.5, keys={"data": "k"})
    ledger.close()
    found = opened(tmp_path / "two")
    assert found.folder == tmp_path / "one"
    assert found.entries == [Entry("0", ["x=1"], FAILED, 5, "error[5]: it diverged", 1.5, {"data": "k"})]
    stored = json.loads((tmp_path / "one" / "sweep.json").read_text())
    assert stored["command"] == "python run.py -m x=1,2"
    assert stored["jobs"][0]["status"] == "failed"


@pytest.mark.parametrize("status", [RUNNING, FAILED, WAITING])
def test_the_same_sweep_goes_on_where_it_was_not_finished(tmp_path, status):
    old = with_jobs(tmp_path / "old", DONE, status)
    assert opened(tmp_path / "new").folder == old
    assert not (tmp_path / "new").exists()


def test_what_a_killed_sweep_left_running_is_to_be_run(tmp_path):
    with_jobs(tmp_path / "old", DONE, RUNNING, FAILED)
    found = opened(tmp_path / "new")
    assert [entry.status for entry in found.entries] == [DONE, WAITING, FAILED]


def test_a_sweep_that_is_stopped_writes_that_none_of_its_jobs_runs(tmp_path):
    ledger = opened(tmp_path / "one")
    ledger.entries = [Entry(str(place), [], status) for place, status in enumerate((DONE, RUNNING, FAILED))]
    ledger.stop()
    stored = json.loads((tmp_path / "one" / "sweep.json").read_text())
    assert [job["status"] for job in stored["jobs"]] == [DONE, WAITING, FAILED]


def test_a_finished_sweep_or_another_one_is_left_alone(tmp_path):
    with_jobs(tmp_path / "finished", DONE, DONE)
    with_jobs(tmp_path / "other", FAILED, identity="b")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sweep.json").write_text("{")
    assert opened(tmp_path / "new").folder == tmp_path / "new"


def test_a_search_that_is_asked_for_more_than_it_has_is_gone_on_with(tmp_path):
    old = with_jobs(tmp_path / "old", DONE, DONE)
    assert opened(tmp_path / "new", num_jobs=2).folder == tmp_path / "new"
    assert opened(tmp_path / "newer", num_jobs=3).folder == old


def test_a_sweep_that_is_being_run_is_not_gone_on_with_by_another_process(tmp_path):
    with_jobs(tmp_path / "old", FAILED)
    first = opened(tmp_path / "new")
    assert first.folder == tmp_path / "old"
    second = opened(tmp_path / "new")
    assert second.folder == tmp_path / "new"


def test_two_sweeps_never_share_a_folder(tmp_path):
    opened(tmp_path / "same")
    with pytest.raises(EnvironmentFault, match="same cannot be written to"):
        opened(tmp_path / "same", identity="b")


def test_a_folder_that_is_named_is_gone_on_in_or_refused(tmp_path):
    with_jobs(tmp_path / "mine", DONE, is_named=True)
    ledger = opened(tmp_path / "mine", is_named=True)
    assert [entry.status for entry in ledger.entries] == [DONE]
    with pytest.raises(EnvironmentFault, match="mine is being run by another process"):
        opened(tmp_path / "mine", is_named=True)
    ledger.close()
    with pytest.raises(ConfigError, match="mine holds another sweep; give another folder"):
        opened(tmp_path / "mine", identity="b", is_named=True)


OTHERS = {
    "one field more": lambda stored: stored["jobs"][0].update(host="a"),
    "one field less": lambda stored: stored["jobs"][0].pop("overrides"),
    "another status": lambda stored: stored["jobs"][0].update(status="paused"),
    "no status": lambda stored: stored["jobs"][0].pop("status") and stored["jobs"][0].pop("folder"),
    "another form": lambda stored: stored.update(jobs={"0": "done"}),
    "no jobs": lambda stored: stored.pop("jobs"),
    "no start": lambda stored: stored.pop("started"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_ledger_of_another_version_is_one_line_and_is_left_as_it_is(tmp_path, capsys, case):
    old = with_jobs(tmp_path / "old", FAILED)
    stored = json.loads((old / "sweep.json").read_text())
    OTHERS[case](stored)
    (old / "sweep.json").write_text(json.dumps(stored))
    for _ in range(2):  # its lock is free again
        with pytest.raises(ConfigError, match=r"old/sweep\.json cannot be gone on with") as told:
            opened(old, is_named=True)
        assert str(told.value).count("\n") == 0
        assert "give another folder" in str(told.value)
    assert opened(tmp_path / "new").folder == tmp_path / "new"
    assert capsys.readouterr().err.count("sweep.json cannot be gone on with") == 1
    assert json.loads((old / "sweep.json").read_text()) == stored
