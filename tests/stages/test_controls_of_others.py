"""Finished ControlNets whose hints, or whose use, are not those of the study."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from condiff.adapters import control_files
from condiff.adapters.base import digest_of
from condiff.adapters.branch import Branch
from condiff.adapters.controlled import Controlled
from condiff.adapters.controlnet import ControlNet
from condiff.adapters.tuning import inside
from condiff.conditioners.label import ClassLabel
from condiff.data.circles import Circles
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import X0
from condiff.diffusion.process import CosineVP
from condiff.errors import ConfigError
from condiff.networks.unet import CrossAttentionUNet
from condiff.stages.adapted import adapted
from condiff.stages.stage import Artifact

CFG = {"adapter": None, "adapters": ["own.safetensors:0.7"]}


@pytest.fixture(scope="module")
def base():
    network = moved(CrossAttentionUNet(3, 4, 16, [8], [True], head_width=8, patch=2)).eval()
    return NetworkDenoiser(network, CosineVP(), X0()), ClassLabel(3, with_null=True), [3, 16, 16]


def moved(module):
    """Values that no layer starts with, so that none of them is without effect."""
    rng = torch.Generator().manual_seed(3)
    for weight in module.parameters():
        weight.data.add_(0.1 * torch.randn(weight.shape, generator=rng))
    return module


@pytest.fixture
def given(base, tmp_path, monkeypatch):
    """One for hints of so many channels is where the config names it, and data whose hints have others."""
    monkeypatch.chdir(tmp_path)

    def given(channels, in_data, **config):
        replace(Circles(size=16).info(), control=in_data).write(tmp_path)
        branch = moved(ControlNet(channels, stride=2, folded=2).begin(base[0].network).branch)
        branch.net.register_to_config(**config)
        control_files.write(Path("own.safetensors"), branch, digest_of(inside(base[0].network)), [])
        return branch, {"data": Artifact("", tmp_path, {})}

    return given


def answer(network, cond):
    rng = torch.Generator().manual_seed(0)
    x, m = torch.randn(2, 3, 16, 16, generator=rng), CosineVP().at(torch.tensor([0.5, 0.8]))
    return network(x, m, cond)


@torch.no_grad()
def test_one_for_grey_hints_is_refused_those_of_data_in_colours_and_given_the_mean_of_named_ones(base, given):
    _, inputs = given(1, 3)
    with (
        pytest.raises(
            ConfigError, match=r"s\[0\]: is for hints of 1 channel, and those of data have 3 channels"
        ),
        adapted(CFG, inputs, base),
    ):
        pass
    hint, label = torch.rand(2, 3, 16, 16), torch.tensor([0, 2])
    with adapted({**CFG, "control": "a.png"}, inputs, base) as (denoiser, conditioner, _):
        found, grey, other = (
            answer(denoiser.network, conditioner({"label": label, "control": own}))
            for own in (hint, hint.mean(1, keepdim=True), hint[:, :1])
        )
    torch.testing.assert_close(found, grey)
    assert not torch.allclose(found, other)
    _, inputs = given(3, 1)
    with adapted(CFG, inputs, base) as (denoiser, conditioner, _):
        answer(denoiser.network, conditioner({"label": label, "control": hint[:, :1]}))


@torch.no_grad()
def test_one_that_pools_adds_the_same_everywhere_at_full_weights_and_nothing_to_the_null_condition(
    base, given
):
    """As diffusers' pipeline uses those of global_pool_conditions, in what it calls guess mode."""
    branch, inputs = given(3, 3, global_pool_conditions=True)
    (denoiser, _, _), cond = base, {"label": torch.tensor([0, 2]), "control": torch.rand(2, 3, 16, 16)}
    with adapted(CFG, inputs, base) as (own, conditioner, _):
        hinted = conditioner(cond)
        assert own.network.weights == [0.7] * branch.num
        found = answer(own.network, hinted)
        plain = answer(denoiser.network, hinted.without())
        assert torch.equal(answer(own.network, hinted.without()), plain)
    branch.net.register_to_config(global_pool_conditions=False)
    net = branch.net
    forward = net.forward
    net.forward = lambda *args, **told: pooled(forward(*args, **told))
    by_hand = Controlled(denoiser.network, Branch(net), [0.7] * branch.num)
    torch.testing.assert_close(found, answer(by_hand, hinted))


def pooled(found):
    """What it adds as means over all places."""
    skips = [own.mean((2, 3), keepdim=True) for own in found.down_block_res_samples]
    return SimpleNamespace(
        down_block_res_samples=skips,
        mid_block_res_sample=found.mid_block_res_sample.mean((2, 3), keepdim=True),
    )
