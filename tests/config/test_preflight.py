"""The preflight from outside: a fresh process, a refusal in one line each, and nothing else."""

import subprocess
import sys
from pathlib import Path

import hydra
import pytest
from config.conftest import write_config
from omegaconf import OmegaConf

from condiff.config.compose import check, register
from condiff.config.validate import validate

DRIVER = """
import sys
from pathlib import Path


class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "numpy", "lightning", "diffusers", "wandb", "PIL", "torchmetrics"}:
            raise AssertionError(f"{name} was imported")


sys.meta_path.insert(0, Refused())
from condiff.config.compose import check
from condiff.errors import CondiffError

try:
    print(len(check(sys.argv[2:], Path(sys.argv[1]), ["data", "denoiser", "samples"]) or []))
except CondiffError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def run(conf: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    work = conf.parent / "work"
    work.mkdir(exist_ok=True)
    command = [sys.executable, "-B", "-c", DRIVER, str(conf), *argv]
    done = subprocess.run(command, capture_output=True, text=True, cwd=work, check=False)
    assert list(work.iterdir()) == [], "something was created"
    return done


def test_a_right_command_is_let_through_without_importing_torch(conf):
    done = run(conf, "-m", "experiment=small", "guidance.scale=1,2,3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")


def test_mistakes_are_lines_on_stderr_and_exit_code_two(conf):
    done = run(
        conf, "experiment=smal", "guidance.scal=2", "+sampler._target_=os.system", "seed=x", "objective=eps"
    )
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert all(line.startswith("error[2]: ") for line in lines)
    assert len(lines) == 4


def test_a_hostile_study_runs_nothing(conf):
    canary = conf.parent / "canary"
    write_config(
        conf,
        "experiment/hostile",
        f"""
# @package _global_
name: x
stages: [data]
guidance: {{_target_: os.system, command: touch {canary}}}
hydra:
  callbacks: {{x: {{_target_: os.system, command: touch {canary}}}}}
  sweeper: {{params: {{_target_: os.system, command: touch {canary}}}}}
  job: {{env_set: {{LD_PRELOAD: x}}}}
""",
    )
    done = run(conf, "-m", "experiment=hostile")
    assert done.returncode == 2
    said = {line.removeprefix("error[2]: ").split(":")[0] for line in done.stderr.splitlines()}
    assert {"guidance._target_", "hydra.callbacks", "hydra.sweeper", "hydra.job.env_set"} <= said
    assert not canary.exists()


@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=small"],
        ["experiment=small", "guidance=chain", "sampler=heun", "sampler.steps=7"],
        ["experiment=small", "data=folder", "data.path=here", "+data.size=8", "~sampler.eta"],
        ["experiment=small", "+network.dropout=0", "guidance.scale=3", "runtime.num_workers=2"],
    ],
)
def test_the_preflight_sees_what_hydra_will_run(conf, overrides):
    register()
    with hydra.initialize_config_dir(str(conf), version_base="1.3"):
        composed = OmegaConf.to_container(hydra.compose("config", overrides), resolve=True)
    assert isinstance(composed, dict)
    assert check(overrides, conf) == [validate({str(key): value for key, value in composed.items()})]
