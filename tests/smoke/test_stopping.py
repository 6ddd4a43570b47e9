"""A command that is told to stop while it samples or measures, and is given again."""

import json
import signal
import time
from pathlib import Path

import pytest

from condiff.files import file_digest
from tests.smoke.conftest import PIXELS, TINY, until
from tests.smoke.test_command_line import start, told

# enough of each for a signal to come meanwhile
LONG = (
    "sampler.steps=100",
    "logger.pictures_every=0",
    "metrics.fd_judge.bootstrap=2000",
    "hydra.run.dir=run",
)
MADE = {"samples": "samples.safetensors", "metrics": "metrics.json"}


def stop_in(stage, tmp_path, argv):
    process = start(tmp_path / "cwd", *argv)
    folder = tmp_path / "cache" / stage
    until(lambda: process.poll() is not None or [*folder.glob(".*.work")])
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - begun < 30
    assert process.returncode == 143, err
    assert "stopped by SIGTERM; go on with: python" in err
    assert "Traceback" not in err
    assert not [path for path in folder.iterdir() if not path.name.startswith(".")]  # it was not done


def made(tmp_path):
    """How each stage came to be, and what the last two have made."""
    stages = json.loads((tmp_path / "cwd" / "run" / "stages.json").read_text())
    digests = [file_digest(Path(stages[name]["path"]) / file) for name, file in MADE.items()]
    return {name: stage["status"] for name, stage in stages.items()}, digests


@pytest.mark.slow
def test_sigterm_while_it_samples_or_measures_costs_that_stage_only_and_changes_nothing(tmp_path):
    once, often = (
        (*TINY, *PIXELS, *LONG, f"runtime.cache={tmp_path / n / 'cache'}") for n in ("once", "often")
    )
    for stage in MADE:
        stop_in(stage, tmp_path / "often", often)
    for name, argv in (("often", often), ("once", once)):
        code, _, err = told(tmp_path / name / "cwd", *argv)
        assert code == 0, err
    (how, found), (_, expected) = made(tmp_path / "often"), made(tmp_path / "once")
    assert how == {**dict.fromkeys(("data", "judge", "denoiser", "samples"), "cached"), "metrics": "run"}
    assert found == expected
