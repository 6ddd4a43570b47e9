"""Studies whose processes torchrun or srun has started."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.smoke.conftest import ALONE, ROOT, TINY, until
from tests.smoke.test_devices import ranks

pytestmark = pytest.mark.slow
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


RUNNING = []


@pytest.fixture(autouse=True)
def nobody_is_left():
    yield
    for process in RUNNING:
        process.kill()
    RUNNING.clear()


def started(folder, *words, **said):
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **said},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    RUNNING.append(process)
    return process


def by_srun(folder, *argv):
    """As srun starts a command on one machine, whose environment is all that condiff reads of it."""
    said = {"SLURM_JOB_ID": str(time.time_ns()), "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    said["SLURM_STEP_NUM_NODES"] = "1"
    places = ({"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(2))
    return [started(folder, str(ROOT / "run.py"), *argv, **said, **place) for place in places]


def weights(folder):
    (run,) = (folder / "outputs/cfg_latent").iterdir()
    stages = json.loads((run / "stages.json").read_text())
    return load_file(Path(stages["denoiser"]["path"]) / "weights.safetensors")


def ended(processes):
    """Exit code, output and errors of each."""
    told = [process.communicate(timeout=900) for process in processes]
    return [(process.returncode, *own) for process, own in zip(processes, told, strict=True)]


def test_either_launcher_makes_what_two_devices_make(tmp_path):
    argv = (*TINY, *ALONE)
    plain = started(tmp_path / "plain", str(ROOT / "run.py"), *argv, "runtime.devices=2")
    ((code, _, err),) = ended([plain])
    assert code == 0, err
    (other,) = ended([started(tmp_path / "torchrun", *TORCHRUN, str(ROOT / "run.py"), *argv)])
    assert other[0] == 0, other[2]
    first, second = ended(by_srun(tmp_path / "srun", *argv))
    assert first[0] == second[0] == 0, first[2]
    assert second[1] == ""  # the first one alone speaks
    expected = weights(tmp_path / "plain")
    for launcher in ("torchrun", "srun"):
        found = weights(tmp_path / launcher)
        assert all((found[name] == expected[name]).all() for name in expected)


def test_a_mistake_is_told_once_and_ends_them_all(tmp_path):
    first, second = ended(by_srun(tmp_path / "cwd", *TINY, "sampler.steps=0"))
    assert (first[0], second[0]) == (2, 2)
    assert first[2].startswith("error[2]: sampler.steps")
    assert second[1:] == ("", "")


def test_told_to_stop_they_save_and_leave_nobody(tmp_path):
    argv = (*TINY, *ALONE, "trainer.steps=100000", "trainer.log_every=1")
    processes = by_srun(tmp_path / "cwd", *argv)
    before = set(ranks())
    work = tmp_path / "cwd/outputs/cache/denoiser"
    until(lambda: any(path.read_text() for path in work.glob(".*.work/log.jsonl")), 600)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    first, second = ended(processes)
    assert time.monotonic() - start < 30
    assert (first[0], second[0]) == (143, 143), first[2]
    assert [*work.glob(".*.work/checkpoints/step=*.safetensors")]
    assert set(ranks()) <= before
