"""Sweeps whose jobs have processes of their own: killed, told to stop, and never left behind."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.smoke.conftest import DRAWN, TINY, jobs, until
from tests.smoke.test_command_line import start, told


def tiny(tmp_path, *argv):
    """Of jobs that import little: a process of its own for each takes most of the time."""
    return ["-m", *TINY, *DRAWN, f"runtime.cache={tmp_path / 'cache'}", "hydra.sweep.dir=here", *argv]


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


ENDS = [
    (signal.SIGINT, 130, "waiting"),
    pytest.param(signal.SIGTERM, 143, "waiting", marks=pytest.mark.slow),  # by the same way as SIGINT
    # nobody was left to write it; the next attempt knows by the lock
    pytest.param(signal.SIGKILL, -9, "running", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("signum", "code", "status"), ENDS)
def test_no_job_outlives_its_sweep_and_the_same_command_goes_on(tmp_path, signum, code, status):
    argv = tiny(tmp_path, "guidance.scale=1,2", "trainer.steps=2000", "hydra/launcher=processes")
    process = start(tmp_path / "cwd", *argv)
    logs = (tmp_path / "cache" / "denoiser").glob
    until(lambda: any(path.stat().st_size for path in logs(".*.work/log.jsonl")))
    (job,) = children(process)
    process.send_signal(signum)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    until(lambda: not is_running(job), 40)
    assert [*(tmp_path / "cache" / "denoiser").glob(".*.work/checkpoints/step=*")]  # it saved what it had
    assert [found["status"] for found in jobs(tmp_path / "cwd" / "here")] == [status, "waiting"]
    assert ("2 of 2 jobs are still to be run" in out) == (status == "waiting")


@pytest.mark.slow
def test_a_job_that_is_told_to_stop_by_itself_is_143_and_the_others_go_on(tmp_path):
    argv = tiny(tmp_path, "guidance.scale=1,2", "trainer.steps=300", "hydra/launcher=processes")
    process = start(tmp_path / "cwd", *argv)
    logs = (tmp_path / "cache" / "denoiser").glob
    until(lambda: any(path.stat().st_size for path in logs(".*.work/log.jsonl")))
    os.kill(children(process)[0], signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 9, err
    first, second = jobs(tmp_path / "cwd" / "here")
    assert (first["status"], first["code"], second["status"]) == ("failed", 143, "done")
    assert first["error"].startswith("error[143]: the job was stopped by SIGTERM")
    stages = json.loads((tmp_path / "cwd" / "here" / "1" / "stages.json").read_text())
    assert stages["denoiser"]["status"] == "resumed"


@pytest.mark.slow  # by default it is one of the jobs of the next test but one
def test_submitit_runs_the_jobs_and_each_says_how_it_went(tmp_path):
    argv = tiny(tmp_path, "guidance.scale=1,2", "hydra/launcher=slurm", "hydra.launcher.cluster=local")
    code, _, err = told(tmp_path / "cwd", *argv, "hydra.launcher.gpus=0")
    assert code == 0, err
    assert [job["status"] for job in jobs(tmp_path / "cwd" / "here")] == ["done", "done"]


LAUNCHED = {
    "submitit": ("hydra/launcher=slurm", "hydra.launcher.cluster=local", "hydra.launcher.gpus=0"),
    "ray": ("hydra/launcher=ray",),
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_job_that_is_killed_says_so_whoever_has_started_it(tmp_path, launcher):
    argv = tiny(tmp_path, "guidance.scale=1,2", "trainer.steps=300", *LAUNCHED[launcher])
    process = start(tmp_path / "cwd", *argv, "hydra.launcher.parallel=1")
    logs = (tmp_path / "cache" / "denoiser").glob
    until(lambda: any(path.stat().st_size for path in logs(".*.work/log.jsonl")))
    (holder,) = (tmp_path / "cache" / "denoiser").glob(".*.holder")
    os.kill(int(holder.read_text().partition("@")[0]), signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 9, err
    first, second = jobs(tmp_path / "cwd" / "here")
    assert (first["status"], first["code"], second["status"]) == ("failed", 137, "done")
    assert first["error"].startswith("error[137]: the job was killed by SIGKILL; what it said is in ")


@pytest.mark.ray
def test_ray_runs_the_jobs_and_each_says_how_it_went(tmp_path):
    argv = tiny(tmp_path, "guidance.scale=1,2", "optimizer.lr=1e-3,1e30", "trainer.clip=null")
    code, _, err = told(tmp_path / "cwd", *argv, "hydra/launcher=ray", "trainer.steps=30")
    assert code == 9, err
    found = jobs(tmp_path / "cwd" / "here")
    assert [job["status"] for job in found] == ["done", "failed", "done", "failed"]
    assert {job["code"] for job in found if job["status"] == "failed"} == {5}


@pytest.mark.slow
def test_a_stage_that_kills_who_makes_it_is_given_up_after_the_second_job(tmp_path):
    here = tmp_path / "cwd" / "here"
    argv = tiny(tmp_path, "guidance.scale=1,2,3", "trainer.steps=2000", "hydra/launcher=processes")
    process = start(tmp_path / "cwd", *argv)
    dead = []
    while process.poll() is None:
        time.sleep(0.05)
        (*_, begun) = [[], *map(json.loads, map(Path.read_text, here.glob(".failed/denoiser-*.begun")))]
        if len(begun) > len(dead):  # the last of those that began it is still there
            (holder,) = (tmp_path / "cache" / "denoiser").glob(".*.holder")
            dead.append(int(holder.read_text().partition("@")[0]))
            os.kill(dead[-1], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, len(dead)) == (9, 2), err
    found = jobs(here)
    assert [job["code"] for job in found] == [137] * 3
    assert all("was killed by SIGKILL" in job["error"] for job in found[:2])
    assert "denoiser: jobs 0 and 1 were killed in it and it is not tried again" in found[2]["error"]
