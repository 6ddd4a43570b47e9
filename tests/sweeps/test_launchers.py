"""What a job may use of a machine that it shares."""

import sys
from pathlib import Path

import pytest

from condiff.config.compose import read_command
from condiff.errors import ConfigError, EnvironmentFault
from condiff.sweeps.job import Job, outcome_of
from condiff.sweeps.launchers import Ray, Slurm
from condiff.sweeps.processes import gpus_of, threads


def test_jobs_at_once_share_the_cores_and_a_job_alone_is_left_alone():
    assert threads(4, 8) == {"OMP_NUM_THREADS": "2"}
    assert threads(4, 2) == {"OMP_NUM_THREADS": "1"}
    assert threads(1, 8) == {}


def test_each_slot_has_gpus_of_its_own_if_there_are_enough():
    names = ["0", "2", "5", "7"]
    found = [gpus_of(slot, 2, 2, names)["CUDA_VISIBLE_DEVICES"] for slot in range(2)]
    assert found == ["0,2", "5,7"]
    assert gpus_of(0, 3, 2, names) == {}
    assert gpus_of(0, 2, 1, []) == {}


def test_a_job_that_left_nothing_died_as_its_launcher_tells(tmp_path):
    job = Job({}, [], "", str(tmp_path), "")
    outcome = outcome_of(job, "the job was killed by SIGKILL", 137)
    assert outcome.code == 137
    (line,) = outcome.error
    assert line.startswith("error[137]: the job was killed by SIGKILL; ")
    assert str(tmp_path / "output.log") in line


def test_a_launcher_that_is_not_chosen_as_it_should_be_is_told_which_there_are():
    conf = Path(__file__).parents[2] / "conf"
    with pytest.raises(ConfigError) as told:
        read_command(["-m", "experiment=cfg_latent", "hydra.launcher=processes", "seed=1,2"], conf)
    assert told.value.lines == (
        "hydra.launcher=processes: is written hydra/launcher=processes;"
        " there are: basic, in_process, processes, ray, slurm",
    )


@pytest.mark.parametrize(("launcher", "library"), [(Ray, "ray"), (Slurm, "submitit")])
def test_a_launcher_that_is_not_installed_says_how_to_have_it(monkeypatch, launcher, library):
    monkeypatch.setitem(sys.modules, library, None)
    extra = launcher.__name__.lower()
    told = rf'hydra/launcher={extra}: {library} is not installed; pip install -e "\.\[{extra}\]"'
    with pytest.raises(EnvironmentFault, match=told):
        launcher().check()
    with pytest.raises(EnvironmentFault, match=told):
        launcher()([Job({}, [], "", "x", "")], None, None)  # pyright: ignore[reportArgumentType]


def test_slurm_is_refused_where_there_is_none_and_its_local_executor_is_not(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError) as told:
        Slurm().check()
    (line,) = told.value.lines
    assert line.startswith("hydra/launcher=slurm: sbatch and srun were not found")
    assert "hydra/launcher=processes" in line
    assert "hydra.launcher.cluster=local" in line
    Slurm(cluster="local").check()
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    Slurm().check()
