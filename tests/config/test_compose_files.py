"""A config file that cannot be used is named, with its line, and nothing in it is run or expanded."""

import re
from pathlib import Path

import pytest
from config.conftest import write_config

from condiff.config.compose import check
from condiff.errors import ConfigError

STAGES = ("data", "denoiser", "samples")
STUDY = "experiment=small"


def told(conf: Path, *argv: str) -> tuple[str, ...]:
    """The mistakes of a command, none for one that may run."""
    try:
        check([*argv], conf, STAGES)
    except ConfigError as error:
        return error.lines
    return ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: x\nstages: [data\n", r"experiment/bad\.yaml:3: is not valid YAML"),
        ("name: x\n  stages: y", r"experiment/bad\.yaml:2: is not valid YAML"),
        ("name: x\nname: y", r"experiment/bad\.yaml:2: is not valid YAML"),
        (
            "name: !!python/object/apply:os.system [touch canary]",
            r"experiment/bad\.yaml:1: is not valid YAML",
        ),
        ("a: &a [1]\nb: *a", r"experiment/bad\.yaml:3: alias \*a is not read"),
        ("question: " + "x" * 1_100_000, r"experiment/bad\.yaml: a config file has at most 1 MB"),
        ("a: " + "[" * 900, r"experiment/bad\.yaml:2: is nested too deeply"),
        ("a: " + "[" * 5000, r"experiment/bad\.yaml:2: is (nested too deeply|not .* maximum nesting)"),
        ("a: [" + "1, " * 100_000 + "1]", r"experiment/bad\.yaml:2: is nested too deeply or too long"),
        ("just text", "just text: a run has no such part"),
        ("[a, list]", r"experiment/bad\.yaml: |config: "),
        (
            "defaults:\n  - override /process: cosin\nname: x",
            r"experiment/bad\.yaml: process=cosin: no such choice",
        ),
        (
            "defaults:\n  - override /process: ???\nname: x",  # which Hydra lets a sweep choose
            r"experiment/bad\.yaml: process=\?\?\?: no such choice",
        ),
        ("defaults:\n  - process: cosine\n    sampler: ddim", r"experiment/bad\.yaml: |config: "),
        ("defaults: what", r"experiment/bad\.yaml: |config: "),
        ("hydra:\n  searchpath: [pkg://this]", "config: .*searchpath"),
        (
            "hydra:\n  sweeper:\n    params: {_target_: os.system}",
            "hydra.sweeper: must be a choice of hydra/sweeper as it stands, got .*os.system",
        ),
        (
            "hydra:\n  launcher:\n    x: [{_target_: os.system}]",
            "config: In 'experiment/bad': .*Key 'x' not in",
        ),
        ("hydra:\n  callbacks:\n    x: {_target_: os.system}", "hydra.callbacks: is not allowed"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(conf, text, line):
    write_config(conf, "experiment/bad", "# @package _global_\n" + text if "valid" not in line else text)
    lines = told(conf, "experiment=bad")
    assert any(re.search(line, told) for told in lines), lines
    assert all("\n" not in line for line in lines)


def test_a_thousandfold_alias_is_never_expanded(conf):
    bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    bomb += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 100)]
    write_config(conf, "experiment/bomb", "\n".join(bomb))
    (line,) = told(conf, "experiment=bomb")
    assert "alias" in line


def test_a_mistake_inside_a_file_is_told_with_its_key(conf):
    write_config(conf, "sampler/ddim", "_target_: condiff.diffusion.samplers.DDIM\nsteps: 10\netta: 0.0")
    assert told(conf, STUDY) == ("sampler.etta: no such argument of DDIM; did you mean 'eta'?",)


def test_an_interpolation_that_leads_nowhere_or_back_is_told(conf):
    text = "# @package _global_\nname: x\nstages: [data]\nquestion: ${question}\nseed: ${data.sise}"
    write_config(conf, "experiment/loop", text)
    keys = [line.split(":")[0] for line in told(conf, "experiment=loop")]
    assert sorted(keys) == ["question", "seed"]
    write_config(conf, "experiment/loop", "# @package _global_\nname: x\nguidance: {inner: '${guidance}'}")
    lines = told(conf, "experiment=loop")
    assert any("guidance" in line.split(":")[0] for line in lines)


def test_an_interpolation_is_resolved(conf):
    (cfg,) = check([STUDY, "sampler.steps=${num_samples}"], conf, STAGES) or []
    assert cfg["sampler"]["steps"] == 20
