"""Which folders are finished runs, and what they say."""

import pytest
from run_folders import config_of, leave, metrics_of

from condiff.errors import DataError
from condiff.stages.run_folders import find_runs, read_log


@pytest.fixture
def runs(tmp_path):
    return [
        leave(tmp_path / "sweep" / str(k), config_of(float(k + 1)), metrics_of(0.9, 1.0 + k)) for k in (0, 1)
    ]


def test_a_sweep_stands_for_its_finished_jobs_in_their_order(tmp_path):
    for job in (10, 9, 1):
        leave(tmp_path / "sweep" / str(job), config_of(float(job)), metrics_of(0.9, 1))
    (tmp_path / "sweep" / "2").mkdir()
    found = find_runs([str(tmp_path / "sweep"), str(tmp_path / "sweep" / "*")])
    assert [folder.name for folder in found] == ["1", "9", "10"]


def test_what_has_measured_nothing_is_no_run_of_a_pattern(runs, tmp_path):
    leave(tmp_path / "sweep" / "7", config_of(), {})
    assert [folder.name for folder in find_runs([str(tmp_path / "*")])] == ["0", "1"]
    with pytest.raises(DataError, match=r"runs\[1\]: .*7 has no metric and the other runs"):
        find_runs([str(runs[0]), str(tmp_path / "sweep" / "7"), str(runs[1])])


def test_runs_stand_in_the_order_in_which_they_are_named(runs):
    assert find_runs([str(runs[1]), str(runs[0])]) == [runs[1], runs[0]]


def test_a_line_of_a_log_that_was_cut_off_is_left_out(runs):
    with (runs[0] / "log.jsonl").open("a") as file:
        file.write('{"stage": "denoiser", "st')
    assert len(read_log(runs[0])) == 20


@pytest.mark.parametrize("blank", ["", " ", "\t"])
def test_a_text_that_names_nothing_is_not_the_current_folder(runs, monkeypatch, blank):
    monkeypatch.chdir(runs[0].parent)
    for given, key in ((blank, "runs"), ([str(runs[0]), blank], r"runs\[1\]")):
        with pytest.raises(DataError, match=f"{key}: names nothing; give the folder of a finished run"):
            find_runs(given)


def test_what_cannot_be_compared_is_told_by_its_entry(runs, tmp_path):
    first = str(runs[0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as told:
        find_runs([first, "absent", str(tmp_path / "empty")])
    assert [line.split(":")[0] for line in told.value.lines] == ["runs[1]", "runs[2]"]
    assert "absent does not exist" in told.value.lines[0]
    assert "no metrics.json" in told.value.lines[1]
    with pytest.raises(DataError, match=r"^error\[3\]: runs: must name at least two finished runs"):
        find_runs([first, first])
    other = leave(tmp_path / "other", config_of(), {"psnr": metrics_of(1, 1)["fd_judge"]})
    with pytest.raises(
        DataError, match=r"runs\[1\]: .*other has psnr and the other runs class_accuracy, fd_judge"
    ):
        find_runs([first, str(other), str(runs[1])])
    (runs[1] / "stages.json").write_text("{")
    with pytest.raises(DataError, match="is not the folder of a finished run"):
        find_runs([first, str(runs[1])])
