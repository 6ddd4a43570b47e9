"""The real configs, shrunk: every stage of a study in seconds."""

import json
import time
from pathlib import Path

import pytest

from condiff.config.compose import check, read_command, register
from condiff.interrupts import Interrupts
from condiff.stages.driver import run_study
from condiff.stages.loggers.wandb_server import Server
from condiff.stages.study import STAGES
from condiff.sweeps.sweep import run_sweep

ROOT = Path(__file__).parents[2]
TINY = (
    "experiment=cfg_latent",
    "data=digits",
    "data.size=16",
    "judge.trainer.steps=3",
    "judge.trainer.batch_size=16",
    "trainer.steps=4",
    "trainer.batch_size=8",
    "network.widths=[8,16]",
    "network.attention=[false,false]",
    "sampler.steps=3",
    "num_samples=20",
    "logger.wandb=off",
    "runtime.accelerator=cpu",
)
LATENT = ("autoencoder.trainer.steps=3", "autoencoder.network.width=16")
ALONE = ("stages=[data,denoiser]", "~autoencoder")
DRAWN = ("stages=[data,denoiser,samples]", "~autoencoder")
PIXELS = ("stages=[data,judge,denoiser,samples,metrics]", "~autoencoder")


@pytest.fixture(autouse=True)
def no_server_is_known_to_be_lost(monkeypatch):
    """A process remembers that it did not reach wandb; a test is not to know of another's."""
    monkeypatch.setattr(Server, "lost", "")


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """One cache for all, as a user has it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def study(cache, tmp_path):
    """Runs the tiny study with overrides; gives the run folder."""
    register()

    def run(*overrides, folder="run", space=LATENT, fresh=False):
        argv = [*TINY, *space, f"runtime.cache={tmp_path / 'cache' if fresh else cache}", *overrides]
        (cfg,) = check(argv, ROOT / "conf", [stage.name for stage in STAGES])
        run_study(cfg, tmp_path / folder, Interrupts())
        return tmp_path / folder

    return run


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
        ledgers = tmp_path.rglob("sweep.json")
        return code, max(ledgers, key=lambda path: path.stat().st_mtime_ns).parent

    return run


def jobs(folder):
    return json.loads((folder / "sweep.json").read_text())["jobs"]
