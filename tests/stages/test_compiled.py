"""Compiling and attention: what is compiled, and one line for what cannot be had."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from condiff.autoencoders.compact import CompactKL
from condiff.data.dataset import ShardDataset
from condiff.errors import ConfigError, EnvironmentFault
from condiff.networks.unet import UNet
from condiff.stages.attention import attending
from condiff.stages.compiled import COMPILE, compile_blocks, compile_whole, compiled
from condiff.stages.stage import LOG, Runtime
from condiff.stages.training import fit
from tests.stages.small import digits, method

CPU = Runtime(accelerator="cpu")


class Repeating(nn.Module):
    """As diffusers' transformers name their blocks."""

    _repeated_blocks = ("Linear",)

    def __init__(self):
        super().__init__()
        self.compiled = []

    def compile_repeated_blocks(self, **settings):
        self.compiled.append(settings)


@pytest.fixture
def asked(monkeypatch):
    """Of what is compiled, in place of the compiler."""
    found = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: found.append(self))
    return found


def test_a_network_that_is_called_is_compiled_itself_and_keeps_its_names(asked):
    network = UNet(1, 11, 8, [8, 16], [False, False])
    names = [*network.state_dict()]
    compile_whole(network, "trainer.compile")
    assert asked == [network]
    assert [*network.state_dict()] == names


def test_of_an_autoencoder_the_parts_are_compiled_that_others_call(asked):
    autoencoder = CompactKL(1)
    compile_whole(autoencoder, "autoencoder.trainer.compile")
    assert asked == [autoencoder.encoder, autoencoder.decoder]


def test_blocks_are_those_that_diffusers_names_and_a_network_without_them_is_told(asked):
    whole = nn.ModuleDict({"inner": Repeating()})
    compile_blocks(whole, "trainer.compile")
    inner = whole["inner"]
    assert isinstance(inner, Repeating)
    assert inner.compiled == [{"dynamic": False}]
    with pytest.raises(ConfigError, match=r"^error\[2\]: trainer\.compile: CompactKL names no blocks"):
        compile_blocks(CompactKL(1), "trainer.compile")
    COMPILE["none"](whole, "")
    assert asked == []


def test_what_is_compiled_to_draw_is_afterwards_as_it_was():
    network, before = nn.Sequential(nn.Linear(2, 2), nn.SiLU()), object()
    network[0]._compiled_call_impl = before
    with compiled(network, "whole", "runtime.sample_compile"):
        assert network._compiled_call_impl is not None
        assert network[0]._compiled_call_impl is before
    assert network._compiled_call_impl is None
    assert network[0]._compiled_call_impl is before


@pytest.mark.slow
def test_what_is_compiled_gives_what_it_gave():
    network = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 4))
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    before = network(x)
    compile_whole(network, "trainer.compile")
    assert torch.allclose(network(x), before, atol=1e-6)


@pytest.mark.slow
def test_a_training_that_is_compiled_learns_what_it_learned(tmp_path):
    """Of every step: its way back and its averages are of the compiled network, too."""
    losses, weights = [], []
    for how in ("none", "whole"):
        (out := tmp_path / how).mkdir()
        own = method(5, compile=how, widths=[32, 64], attention=True)
        fit("denoiser", own, ShardDataset(digits(out).path, "train"), CPU, out)
        losses.append([json.loads(line)["loss"] for line in (out / LOG).read_text().splitlines()])
        weights.append(load_file(out / "ema.safetensors"))
    assert len(losses[0]) == 5
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-4)


def trained(tmp_path, monkeypatch, backend):
    """Steps of a training whose network is compiled by this."""
    monkeypatch.setitem(COMPILE, "whole", lambda network, _: network.compile(backend=backend))
    fit("denoiser", method(3, compile="whole"), ShardDataset(digits(tmp_path).path, "train"), CPU, tmp_path)
    return [json.loads(line)["loss"] for line in (tmp_path / LOG).read_text().splitlines()]


def test_a_network_that_is_compiled_to_other_gradients_does_not_learn_from_them(tmp_path, monkeypatch):
    def wrong(graph, _):
        def call(*args):
            return tuple(value.detach() + 0 * value for value in graph(*args))

        return call

    said = r"^error\[6\]: trainer\.compile: torch .* compiles other gradients than the network has, of net\."
    with pytest.raises(EnvironmentFault, match=said):
        trained(tmp_path, monkeypatch, wrong)
    assert not (tmp_path / LOG).read_text()


def test_the_look_at_what_is_compiled_changes_no_step(tmp_path, monkeypatch):
    (plain := tmp_path / "plain").mkdir()
    fit("denoiser", method(3), ShardDataset(digits(plain).path, "train"), CPU, plain)
    (own := tmp_path / "own").mkdir()
    losses = trained(own, monkeypatch, "eager")
    assert losses == [json.loads(line)["loss"] for line in (plain / LOG).read_text().splitlines()]


def test_attention_is_by_the_backend_that_is_asked_for():
    q = torch.randn(1, 2, 16, 8, generator=torch.Generator().manual_seed(0))
    expected = torch.softmax(q @ q.mT / 8**0.5, -1) @ q
    names = {}
    for backend in ("math", "flash"):
        with attending(backend, "cpu"), torch.profiler.profile() as profile:
            found = torch.nn.functional.scaled_dot_product_attention(q, q, q)
        assert torch.allclose(found, expected, atol=1e-5)
        names[backend] = {event.key for event in profile.key_averages() if "attention" in event.key}
    assert any("flash" in name for name in names["flash"])
    assert any("math" in name for name in names["math"])


def test_a_backend_that_the_device_has_not_is_one_line():
    said = (
        r"^error\[2\]: runtime\.attention: cudnn is not to be had on a CPU with torch .*; use auto or math$"
    )
    with pytest.raises(ConfigError, match=said), attending("cudnn", "cpu"):
        pass
