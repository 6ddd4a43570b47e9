"""Sweeps with the real configs, shrunk: trained once, loaded once, and each job fails alone."""

import json
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from condiff.config.compose import read_command, register
from condiff.errors import DivergedError
from condiff.interrupts import Interrupts
from condiff.stages import denoiser, samples
from condiff.stages.study import STAGES
from condiff.sweeps.sweep import run_sweep
from tests.smoke.conftest import LATENT, ROOT, TINY, until
from tests.smoke.test_command_line import start, told


@pytest.fixture
def sweep(cache, tmp_path, monkeypatch):
    """Runs a tiny sweep in this process; gives its exit code and its folder."""
    register()
    monkeypatch.chdir(tmp_path)

    def run(*overrides, fresh=False):
        where = tmp_path / "cache" if fresh else cache
        argv = ["-m", *TINY, *LATENT, f"runtime.cache={where}", *overrides]
        command = read_command(argv, ROOT / "conf", [stage.name for stage in STAGES])
        code = run_sweep(command, "run.py", Interrupts())
        ledgers = tmp_path.glob("outputs/*/*/sweep.json")
        return code, max(ledgers, key=lambda path: path.stat().st_mtime_ns).parent

    return run


def jobs(folder):
    return json.loads((folder / "sweep.json").read_text())["jobs"]


def images(folder):
    path = Path(json.loads((folder / "stages.json").read_text())["samples"]["path"])
    return load_file(path / "samples.safetensors")["image"]


def test_what_the_jobs_share_is_made_once_and_loaded_once(sweep, monkeypatch):
    loaded = []
    for room in ("denoiser", "autoencoder", "judge"):
        load = import_module(f"condiff.stages.{room}").load_weights
        monkeypatch.setattr(
            f"condiff.stages.{room}.load_weights",
            lambda module, folder, load=load, room=room: (loaded.append(room), load(module, folder)),
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
    sweep("guidance.scale=1,2,3", "seed=13")
    assert len(calls) == 2


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


def test_a_search_draws_its_trials_from_one_training_and_goes_on_where_it_was(sweep, capsys):
    space = ("hydra/sweeper=optuna", "guidance.scale=interval(1,8)", "sampler=euler,heun", "num_samples=70")
    goals = ("hydra.sweeper.num_trials=4", "seed=15", "hydra.sweep.dir=here")
    fewer = ("hydra.sweeper.minimize=[fd_judge]", "hydra.sweeper.maximize=[class_accuracy]")

    def run():
        register()
        argv = ["-m", *TINY, *LATENT, *space, *goals, *fewer, "runtime.cache=cache"]
        command = read_command(argv, ROOT / "conf", [stage.name for stage in STAGES])
        return run_sweep(command, "run.py", Interrupts())

    assert run() == 0
    found = jobs(Path("here"))
    assert len(found) == 4
    assert len({job["keys"]["denoiser"] for job in found}) == 1
    assert len({tuple(job["overrides"]) for job in found}) == 4
    ledger = json.loads(Path("here/sweep.json").read_text())
    ledger["jobs"] = ledger["jobs"][:2]
    Path("here/sweep.json").write_text(json.dumps(ledger))
    capsys.readouterr()
    assert run() == 0
    assert [job["overrides"] for job in jobs(Path("here"))] == [job["overrides"] for job in found]
    out = capsys.readouterr().out
    assert out.count("are done already") == 2
    assert "\nbest\n" in out


def tiny(tmp_path, *argv):
    return ["-m", *TINY, *LATENT, f"runtime.cache={tmp_path / 'cache'}", "hydra.sweep.dir=here", *argv]


def children(process):
    """The jobs of a sweep that is being run."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in found if b"condiff.sweeps.job" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_jobs_in_processes_train_once_and_one_that_is_killed_ends_alone(tmp_path):
    argv = tiny(tmp_path, "guidance.scale=1,2,3", "hydra/launcher=processes", "hydra.launcher.parallel=3")
    process = start(tmp_path / "cwd", *argv)
    until(lambda: len(children(process)) == 3 and (tmp_path / "cwd" / "here" / "2" / "run.log").is_file())
    os.kill(children(process)[2], signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 9, err
    found = jobs(tmp_path / "cwd" / "here")
    assert sorted(job["status"] for job in found) == ["done", "done", "failed"]
    (dead,) = (job for job in found if job["status"] == "failed")
    assert dead["code"] == 137
    assert dead["error"].startswith("error[137]: the job was killed by SIGKILL")
    alive = [tmp_path / "cwd" / "here" / job["folder"] for job in found if job["status"] == "done"]
    trained = [json.loads((folder / "stages.json").read_text())["denoiser"]["status"] for folder in alive]
    assert trained.count("run") <= 1
    assert "report:" in (alive[0] / "output.log").read_text()
    code, out, err = told(tmp_path / "cwd", *argv)
    assert code == 0, err
    assert "2 of 3 jobs are done already" in out
    assert [job["status"] for job in jobs(tmp_path / "cwd" / "here")] == ["done"] * 3


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_no_job_outlives_its_sweep_and_the_same_command_goes_on(tmp_path, signum, code):
    argv = tiny(tmp_path, "guidance.scale=1,2", "trainer.steps=2000", "hydra/launcher=processes")
    process = start(tmp_path / "cwd", *argv)
    logs = (tmp_path / "cache" / "denoiser").glob
    until(lambda: any(path.stat().st_size for path in logs(".*.work/log.jsonl")))
    (job,) = children(process)
    process.send_signal(signum)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    until(lambda: not is_running(job), 40)
    assert [*(tmp_path / "cache" / "denoiser").glob(".*.work/checkpoints/step=*")]  # it saved what it had
    assert jobs(tmp_path / "cwd" / "here")[0]["status"] == "running"


def test_submitit_runs_the_jobs_and_each_says_how_it_went(tmp_path):
    argv = tiny(tmp_path, "guidance.scale=1,2", "hydra/launcher=slurm", "hydra.launcher.cluster=local")
    code, _, err = told(tmp_path / "cwd", *argv, "hydra.launcher.gpus=0")
    assert code == 0, err
    assert [job["status"] for job in jobs(tmp_path / "cwd" / "here")] == ["done", "done"]


@pytest.mark.ray
def test_ray_runs_the_jobs_and_each_says_how_it_went(tmp_path):
    argv = tiny(tmp_path, "guidance.scale=1,2", "optimizer.lr=1e-3,1e30", "trainer.clip=null")
    code, _, err = told(tmp_path / "cwd", *argv, "hydra/launcher=ray", "trainer.steps=30")
    assert code == 9, err
    found = jobs(tmp_path / "cwd" / "here")
    assert [job["status"] for job in found] == ["done", "failed", "done", "failed"]
    assert {job["code"] for job in found if job["status"] == "failed"} == {5}
