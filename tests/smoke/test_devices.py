"""Studies on two devices, by the command itself."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.smoke.conftest import until
from tests.smoke.test_command_line import start, tiny, weights

pytestmark = pytest.mark.slow
TWO = "runtime.devices=2"
TRAIN = ("stages=[data,denoiser]", "trainer.log_every=1", "hydra.run.dir=run")


def told(folder, *argv):
    """Exit code, standard output and standard error; eight times two processes take a while to start."""
    process = start(folder, *argv)
    try:
        out, err = process.communicate(timeout=900)
    finally:
        process.kill()
    return process.returncode, out, err


def read(folder, name):
    return json.loads((folder / name).read_text())


def ranks():
    """Command lines of all ranks that run now, by their number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"condiff.stages.ranks_worker" in words:
            found[int(path.parent.name)] = words
    return found


def ranks_of(parent):
    return [number for number, words in ranks().items() if int(words[-2]) == parent]


def denoiser_logs(tmp_path):
    return list((tmp_path / "cache" / "denoiser").glob(".*.work/log.jsonl"))


def test_a_sweep_on_two_devices_is_the_sweep_on_one(tmp_path):
    sweep = ("-m", "guidance.scale=1,2", "trainer.batch_size=9", "metrics.every=2")
    code, _, err = told(tmp_path, *tiny(tmp_path / "one", *sweep, "hydra.sweep.dir=one"))
    assert code == 0, err
    code, _, err = told(tmp_path, *tiny(tmp_path / "two", *sweep, TWO, "hydra.sweep.dir=two"))
    assert code == 0, err
    for job in ("0", "1"):
        one, two = (read(tmp_path / name / job, "stages.json") for name in ("one", "two"))
        assert {name: stage["key"] for name, stage in one.items()} == {n: s["key"] for n, s in two.items()}
        assert [s["status"] for s in one.values()] == [s["status"] for s in two.values()]
        pictures = [
            load_file(Path(found["samples"]["path"]) / "samples.safetensors")["image"].astype(int)
            for found in (one, two)
        ]
        assert np.abs(pictures[0] - pictures[1]).max() <= 1
        measured = [read(tmp_path / name / job, "metrics.json") for name in ("one", "two")]
        assert measured[0].keys() == measured[1].keys()
        for name, entry in measured[0].items():
            assert measured[1][name]["value"] == pytest.approx(entry["value"], rel=0.01), name
        rows = [
            [
                json.loads(line).keys()
                for line in (tmp_path / name / job / "log.jsonl").read_text().splitlines()
            ]
            for name in ("one", "two")
        ]
        assert rows[0] == rows[1]
    folders = {path.name for path in (tmp_path / "two").iterdir() if path.is_dir()}
    assert folders == {"0", "1", "cache", "figures", ".failed"}  # and nothing of the ranks


def test_two_studies_at_once_on_two_devices_each(tmp_path):
    jobs = [start(tmp_path / name, *tiny(tmp_path / name, TWO, *TRAIN)) for name in ("one", "two")]
    for job in jobs:
        _, err = job.communicate(timeout=900)
        assert job.returncode == 0, err
    one, two = (read(tmp_path / name / "run", "stages.json")["denoiser"] for name in ("one", "two"))
    assert (one["key"], one["status"]) == (two["key"], "run")
    assert weights(tmp_path / "one" / "run") == weights(tmp_path / "two" / "run")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_same_command_goes_on(tmp_path, signum, code):
    argv = tiny(tmp_path, TWO, *TRAIN, "trainer.steps=1500")
    process = start(tmp_path / "cwd", *argv)
    until(lambda: process.poll() is not None or denoiser_logs(tmp_path))
    time.sleep(0.5)
    process.send_signal(signum)
    begun = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - begun < 30
    assert process.returncode == code, err
    assert f"stopped by {signum.name}; go on with: python" in err
    assert not ranks_of(process.pid)
    (log,) = denoiser_logs(tmp_path)
    live = tmp_path / "cwd" / "run" / "log.jsonl"
    assert live.read_text() == log.read_text()
    got, out, err = told(tmp_path / "cwd", *argv)
    assert got == 0, err
    assert "resumed" in out


def test_ranks_do_not_outlive_a_killed_command_and_the_next_one_goes_on(tmp_path):
    argv = tiny(tmp_path, TWO, *TRAIN, "trainer.steps=1500", "runtime.checkpoint_seconds=0.1")
    process = start(tmp_path / "cwd", *argv)
    until(lambda: list((tmp_path / "cache" / "denoiser").glob(".*.work/checkpoints/step=*.safetensors")))
    assert len(ranks_of(process.pid)) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    until(lambda: not ranks_of(process.pid), seconds=5)
    got, out, err = told(tmp_path / "cwd", *argv)
    assert got == 0, err
    assert "resumed" in out


def test_a_diverged_training_is_one_line_with_its_own_exit_code(tmp_path):
    argv = tiny(
        tmp_path, TWO, "optimizer.lr=1e30", "optimizer.warmup=0", "trainer.steps=40", "hydra.run.dir=run"
    )
    code, _, err = told(tmp_path, *argv)
    lines = [line for line in err.splitlines() if line.startswith("error")]
    assert code == 5, err
    assert len(lines) == 1
    assert lines[0].startswith("error[5]: denoiser: the gradient at step")
    assert "Traceback" not in err
