"""The one door: what is on the list is built, and nothing is resolved, run or copied on the way."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from config.test_signatures import HOSTILE

from condiff.config.build import build
from condiff.diffusion.guidance import Chain, ClassifierFree, Interval
from condiff.diffusion.samplers import DDIM
from condiff.errors import ConfigError

FREE = {"_target_": "condiff.diffusion.guidance.ClassifierFree", "scale": 2.0}
INTERVAL = {"_target_": "condiff.diffusion.guidance.Interval", "low": 0.2, "high": 5.0, "inner": FREE}


def test_objects_inside_objects_are_built():
    chain = build({"_target_": "condiff.diffusion.guidance.Chain", "links": [INTERVAL, FREE]})
    assert isinstance(chain, Chain)
    first, second = chain.links
    assert isinstance(first, Interval)
    assert isinstance(first.inner, ClassifierFree)
    assert isinstance(second, ClassifierFree)


@dataclass
class Live:
    """A dataclass, which a config library would take for a config."""

    value: int = 3


def test_wired_objects_arrive_as_they_are():
    live = Live()
    node = {"_target_": "condiff.diffusion.samplers.DDIM", "steps": 5}
    sampler = build(node, "sampler", grid=live)
    assert isinstance(sampler, DDIM)
    assert sampler.grid is live


def test_a_partial_still_lacks_an_argument():
    node = {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.5, "betas": [0.9, 0.99]}
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = build(node, "optimizer")([weight])
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.param_groups[0]["params"][0] is weight


def test_what_a_constructor_refuses_is_told_with_its_path():
    with pytest.raises(ConfigError) as error:
        build({**FREE, "scale": -1.0}, "guidance")
    assert error.value.lines == ("guidance.scale must be >= 0, got -1.0",)
    with pytest.raises(ConfigError) as error:
        build({**INTERVAL, "inner": {**FREE, "scale": -1.0}}, "guidance")
    assert error.value.lines[0].startswith("guidance.inner.scale must be")


@pytest.mark.parametrize("target", [*HOSTILE, None, 3, ["os.system"]])
def test_a_hostile_target_is_never_built(target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for node in (
        {"_target_": target},
        {**INTERVAL, "inner": {"_target_": target, "command": "touch canary"}},
    ):
        with pytest.raises(ConfigError):
            build(node, "guidance")
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "a ${name} b", "???"])
def test_a_stored_config_is_plain_and_never_resolved(text, monkeypatch):
    monkeypatch.setenv("HOME", "secret-canary")
    node = {"_target_": "condiff.data.image_folder.ImageFolder", "path": text}
    with pytest.raises(ConfigError) as error:
        build(node, "data")
    assert error.value.lines[0].startswith("data.path: must be a plain value")
    assert "canary" not in str(error.value)


def test_only_two_words_may_stand_beside_the_arguments():
    for word in ("_args_", "_convert_", "_recursive_"):
        with pytest.raises(ConfigError, match=f"guidance.{word}: is not allowed"):
            build({**FREE, word: []}, "guidance")


def test_a_node_without_a_target_is_no_object():
    with pytest.raises(ConfigError, match="guidance: has no _target_"):
        build({"scale": 2.0}, "guidance")
