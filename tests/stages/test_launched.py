"""What torchrun and srun say of a process is understood, and no library hears of it."""

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from condiff.errors import ConfigError, DivergedError, EnvironmentFault
from condiff.files import read_json, write_json
from condiff.interrupts import Interrupts
from condiff.stages import launched as under_test
from condiff.stages.launched import CODE, Launch, launched, read_launch, with_all_devices
from condiff.stages.processes import JOB
from condiff.stages.ranks import _job
from condiff.stages.stage import Runtime

SRUN = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "6",
    "SLURM_STEP_NUM_TASKS": "6",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "4(x1),2",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}


@pytest.fixture
def launch(tmp_path):
    return Launch("srun", 1, 2, 1, 2, 1, tmp_path / "launch")


def test_a_process_of_srun_knows_its_place_and_its_folder():
    found = read_launch(dict(SRUN))
    assert found == Launch("srun", 5, 6, 1, 4, 2, Path("outputs/.launches/slurm-7-0-0").absolute())
    requeued = read_launch({**SRUN, "SLURM_RESTART_COUNT": "1"})
    assert requeued is not None
    assert requeued.folder.name == "slurm-7-0-1"


@pytest.mark.parametrize(
    "said",
    [
        {},
        {
            name: SRUN[name] for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_PROCID")
        },  # the script of a job
        {**SRUN, "SLURM_STEP_NUM_TASKS": "1"},
        {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "1"},
        {"RANK": "0", "WORLD_SIZE": "8"},  # of something else
    ],
)
def test_a_process_that_is_alone_is_none_of_a_launcher(said):
    assert read_launch(said) is None


def test_a_place_is_known_to_the_end_and_hidden_from_libraries(monkeypatch):
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    launched.cache_clear()
    try:
        found = launched()
        assert not {"SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"} & {*os.environ}
        assert launched() is found is not None
    finally:
        launched.cache_clear()


def test_a_command_is_given_all_devices_and_no_others(launch):
    assert with_all_devices(["a=1"], launch) == ["a=1", "runtime.devices=2"]
    assert with_all_devices(["runtime.devices=2", "a=1"], launch) == ["a=1", "runtime.devices=2"]
    said = r"runtime\.devices: must be 2, the processes that srun has started, or be left out, got 4"
    with pytest.raises(ConfigError, match=said):
        with_all_devices(["runtime.devices=4"], launch)


@pytest.mark.parametrize("on_gpu", [True, False])
def test_a_process_elsewhere_takes_part_in_the_job_that_the_first_one_leaves(
    launch, tmp_path, monkeypatch, on_gpu
):
    """As ``ranks`` writes it, and ends with the code of its own process."""
    asked = []

    class Done:
        def poll(self):
            return 0

        def kill(self):
            pass

        def wait(self):
            return 7

    monkeypatch.setattr(Launch, "_process", lambda self, job, gpu: asked.append(gpu) or Done())
    stage: Any = SimpleNamespace(work="module:function", seen=lambda cfg: {})
    said = _job(stage, {}, {}, Runtime(devices=2), tmp_path, on_gpu)
    (tmp_path / "job").mkdir()
    write_json(tmp_path / "job" / JOB, said)
    launch._take_part(tmp_path / "job")
    assert asked == [on_gpu]
    assert read_json(tmp_path / "job" / f"{CODE}1") == 7


def test_the_others_end_as_the_first_one_ends(launch):
    codes = []
    other = threading.Thread(target=lambda: codes.append(launch.follow(Interrupts())))
    other.start()

    def fails():
        raise DivergedError("x")

    with pytest.raises(DivergedError):
        launch.lead(fails)
    other.join(10)
    assert codes == [DivergedError.exit_code]
    assert launch.lead(lambda: 9) == 9
    assert launch.follow(Interrupts()) == 9


def test_one_that_hears_nothing_of_the_first_gives_up(launch, monkeypatch):
    monkeypatch.setattr(under_test, "LOST", 0.2)
    with pytest.raises(
        EnvironmentFault, match=r"srun: process 1 has heard nothing of the first one for 0\.2 s"
    ):
        launch.follow(Interrupts())
