"""Sweeps with the real configs, shrunk: trained once, loaded once, and each job fails alone."""

import json
import sys
from importlib import import_module
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from condiff.errors import ConfigError, DivergedError
from condiff.stages import denoiser, driver, samples
from condiff.sweeps.launchers import InProcess
from tests.smoke.conftest import jobs


def images(folder):
    path = Path(json.loads((folder / "stages.json").read_text())["samples"]["path"])
    return load_file(path / "samples.safetensors")["image"]


def test_what_the_jobs_share_is_made_once_and_loaded_once(sweep, monkeypatch):
    loaded = []
    loads = {"denoiser": "load_chosen", "autoencoder": "load_weights", "judge": "load_weights"}
    for room, name in loads.items():
        load = getattr(import_module(f"condiff.stages.{room}"), name)
        monkeypatch.setattr(
            f"condiff.stages.{room}.{name}",
            lambda *given, load=load, room=room: (loaded.append(room), load(*given)),
        )
    code, first = sweep("guidance.scale=1", "seed=11", fresh=True)
    assert code == 0
    assert {*loaded} == {"denoiser", "autoencoder", "judge"}
    loaded.clear()
    code, folder = sweep("guidance.scale=1,2,3", "seed=11", fresh=True)
    assert (code, loaded) == (0, [])
    made = [json.loads((folder / str(k) / "stages.json").read_text()) for k in range(3)]
    for stages in made[1:]:
        assert {name for name, stage in stages.items() if stage["status"] == "run"} == {"samples", "metrics"}
    assert np.array_equal(images(first / "0"), images(folder / "0"))
    assert not np.array_equal(images(folder / "0"), images(folder / "1"))
    assert [job["status"] for job in jobs(folder)] == ["done"] * 3
    assert jobs(folder)[1]["keys"] == {name: stage["key"] for name, stage in made[1].items()}
    for k in range(3):  # what the page compares in pairs is what the metric is the mean of
        each = load_file(Path(made[k]["metrics"]["path"]) / "per_sample.safetensors")
        metrics = json.loads((folder / str(k) / "metrics.json").read_text())
        for name in ("class_accuracy", "fd_judge_biased_n20"):
            assert (len(each[name]), each[name].mean()) == (
                20,
                pytest.approx(metrics[name]["value"], rel=1e-9),
            )
    page = (folder / "comparison.html").read_text()
    assert ", the setting with the best fd_judge_biased_n20." in page
    assert "fd_judge_biased_n20: each sample counts by how far it moves the distance" in page
    assert "guidance.scale=2" in (folder / "1" / "report.html").read_text()
    assert "python run.py experiment=cfg_latent" in (folder / "1" / "report.html").read_text()


def test_a_checkpoint_is_an_axis_of_one_training(sweep):
    code, folder = sweep("trainer.keep=[2,4]", "checkpoint=2,4,null", "seed=16")
    assert code == 0
    assert len({job["keys"]["denoiser"] for job in jobs(folder)}) == 1
    early, last, end = (images(folder / str(k)) for k in range(3))
    assert np.array_equal(last, end)  # the training has four steps
    assert not np.array_equal(early, end)


FAULTS = {2.0: ValueError("no such thing"), 3.0: SystemExit(3), 4.0: torch.OutOfMemoryError("too large")}


def test_a_job_that_fails_ends_alone_and_the_same_command_runs_only_what_is_missing(
    sweep, monkeypatch, capsys
):
    draw = samples.draw

    def draw_or_fail(cfg, inputs, runtime, out):
        if cfg["guidance"]["scale"] in FAULTS:
            raise FAULTS[cfg["guidance"]["scale"]]
        draw(cfg, inputs, runtime, out)

    monkeypatch.setattr(samples, "draw", draw_or_fail)
    code, folder = sweep("guidance.scale=1,2,3,4,5", "seed=12")
    assert code == 9
    found = jobs(folder)
    assert [job["status"] for job in found] == ["done", "failed", "failed", "failed", "done"]
    assert [job["code"] for job in found] == [0, 1, 1, 7, 0]
    assert found[1]["error"].startswith("error[1]: ValueError at test_sweep.py:")
    assert "SystemExit" in found[2]["error"]
    assert found[3]["error"].startswith("error[7]: trainer.batch_size: out of memory")
    for job in (1, 2, 3):
        assert "Traceback (most recent call last)" in (folder / str(job) / "run.log").read_text()
    said = capsys.readouterr()
    assert "guidance.scale=3     1" in said.out
    assert said.err.count("error[7]") == 1
    kept = (folder / "0" / "report.html").stat().st_mtime_ns
    monkeypatch.setattr(samples, "draw", draw)
    code, again = sweep("guidance.scale=1,2,3,4,5", "seed=12")
    assert (code, again) == (0, folder)
    assert [job["status"] for job in jobs(folder)] == ["done"] * 5
    assert (folder / "0" / "report.html").stat().st_mtime_ns == kept
    assert "2 of 5 jobs are done already" in capsys.readouterr().out


def test_what_an_earlier_attempt_left_is_not_taken_for_the_result_of_this_one(sweep, monkeypatch):
    code, folder = sweep("guidance.scale=1,2", "seed=17")
    assert code == 0
    ledger = json.loads((folder / "sweep.json").read_text())
    ledger["jobs"][0]["status"] = "failed"
    (folder / "sweep.json").write_text(json.dumps(ledger))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    code, again = sweep("guidance.scale=1,2", "seed=17", "hydra/launcher=processes")
    assert (code, again) == (9, folder)
    assert [job["status"] for job in jobs(folder)] == ["failed", "done"]
    assert jobs(folder)[0]["metrics"] == jobs(folder)[0]["keys"] == {}
    assert not (folder / "0" / "metrics.json").exists()


def test_a_stage_that_all_need_fails_once(sweep, monkeypatch):
    calls = []

    def diverge(*_):
        calls.append(0)
        raise DivergedError("denoiser: the gradient at step 7 is nan; lower the learning rate")

    monkeypatch.setattr(denoiser, "train", diverge)
    code, folder = sweep("guidance.scale=1,2,3", "seed=13")
    assert (code, len(calls)) == (9, 1)
    first, *others = jobs(folder)
    assert (first["code"], others[0]["code"], others[1]["code"]) == (5, 5, 5)
    for job in others:
        assert "denoiser: failed in job 0 and is not tried again" in job["error"]
        assert "step 7" in job["error"]
        assert job["error"] in (folder / job["folder"] / "run.log").read_text()
    assert "error[5]: denoiser: the gradient at step 7 is nan" in (folder / "0" / "run.log").read_text()
    sweep("guidance.scale=1,2,3", "seed=13")
    assert len(calls) == 2


@pytest.mark.parametrize("early", ["plan", "chosen_loggers"])
def test_what_fails_before_the_first_stage_is_in_the_log_of_the_job_without_its_secrets(
    sweep, monkeypatch, early
):
    for fault in (ValueError("no api_key=SECRET1"), ConfigError("data.path: not https://me:SECRET1@host")):
        monkeypatch.setattr(driver, early, Mock(side_effect=fault))
        code, folder = sweep("guidance.scale=1,2", "seed=19", "hydra.sweep.dir=outputs/a/b")
        assert code == 9
        for job in jobs(folder):
            said = (folder / job["folder"] / "run.log").read_text()
            assert job["error"] in said
            assert "Traceback (most recent call last)" in said
            assert "***" in job["error"]
            assert "SECRET1" not in said


@pytest.mark.slow
def test_another_worker_count_or_logger_goes_on_with_the_same_sweep_and_other_settings_do_not(
    sweep, monkeypatch
):
    def fail(*_):
        raise ValueError("not today")

    with monkeypatch.context() as patched:
        patched.setattr(samples, "draw", fail)
        _, folder = sweep("guidance.scale=1,2", "seed=14")
        _, other = sweep("guidance.scale=1,3", "seed=14")
    assert other != folder
    code, again = sweep("guidance.scale=1,2", "seed=14", "runtime.checkpoint_seconds=5")
    assert (code, again) == (0, folder)


@pytest.fixture
def search(sweep):
    """A tiny search by two objectives."""
    space = ("hydra/sweeper=optuna", "guidance.scale=interval(1,8)", "sampler=euler,heun", "num_samples=70")
    goals = ("hydra.sweeper.minimize=[fd_judge]", "hydra.sweeper.maximize=[class_accuracy]")
    return lambda *words: sweep(*space, *goals, *words)


def test_a_search_draws_its_trials_from_one_training_and_goes_on_where_it_was(search, capsys):
    code, folder = search("hydra.sweeper.num_trials=4", "seed=15")
    assert code == 0
    found = jobs(folder)
    assert len(found) == 4
    assert len({job["keys"]["denoiser"] for job in found}) == 1
    assert len({tuple(job["overrides"]) for job in found}) == 4
    ledger = json.loads((folder / "sweep.json").read_text())
    ledger["jobs"] = ledger["jobs"][:2]
    (folder / "sweep.json").write_text(json.dumps(ledger))
    capsys.readouterr()
    assert search("hydra.sweeper.num_trials=4", "seed=15") == (0, folder)
    assert [job["overrides"] for job in jobs(folder)] == [job["overrides"] for job in found]
    out = capsys.readouterr().out
    assert out.count("2 of 4 jobs are done already") == out.count("are done already") == 1
    assert "\nbest\n" in out


@pytest.mark.slow
def test_a_search_with_more_trials_goes_on_one_point_at_a_time_and_runs_none_again(search, monkeypatch):
    _, folder = search("hydra.sweeper.num_trials=2", "seed=20")
    first, handed = jobs(folder), []
    run = InProcess.__call__

    def noted(self, jobs, watcher, interrupts):
        handed.append([job.folder for job in jobs])
        run(self, jobs, watcher, interrupts)

    monkeypatch.setattr(InProcess, "__call__", noted)
    assert search("hydra.sweeper.num_trials=4", "seed=20") == (0, folder)
    assert handed == [[str(folder / "2")], [str(folder / "3")]]
    assert jobs(folder)[:2] == first
    assert search("hydra.sweeper.num_trials=4", "seed=20")[1] != folder  # it is finished
