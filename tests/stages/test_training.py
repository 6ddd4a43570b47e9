"""A training is a function of its config and seed: interruptions and neighbours change nothing."""

import json

import pytest
import torch
from lightning import Callback
from safetensors.torch import load_file

from condiff.callbacks.checkpoint import Checkpoints
from condiff.data.dataset import ShardDataset
from condiff.data.digits import Digits
from condiff.data.prepare import prepare
from condiff.interrupts import Interrupted, Interrupts
from condiff.stages import training
from condiff.stages.stage import LOG, Runtime
from condiff.stages.training import fit, load_weights
from tests.stages import small

STEPS = 12


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    prepare(Digits(size=8), folder)
    return ShardDataset(folder, "train")


def method(seed=0):
    return small.method(STEPS, seed=seed, dropout=0.1)  # dropout draws from the global generator


def trained(digits, out, **runtime):
    out.mkdir(exist_ok=True)
    fit("denoiser", method(), digits, Runtime(accelerator="cpu", **runtime), out)
    return load_file(out / "weights.safetensors"), load_file(out / "ema.safetensors"), (out / LOG).read_text()


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    return trained(digits, tmp_path_factory.mktemp("runs") / "whole")


def same(one, other):
    assert one[0].keys() == other[0].keys()
    assert all(torch.equal(one[0][name], other[0][name]) for name in one[0])
    assert all(torch.equal(one[1][name], other[1][name]) for name in one[1])
    assert one[2] == other[2]


def test_the_average_and_the_last_weights_are_two_things(whole):
    assert any(not torch.equal(whole[0][name], whole[1][name]) for name in whole[0])


def test_interrupted_twice_it_ends_bit_for_bit_the_same_and_logs_each_step_once(digits, whole, tmp_path):
    for stop in (3, 8):
        interrupts = Interrupts()

        def log(_, step, __, stop=stop, interrupts=interrupts):
            interrupts.pending = 15 if step == stop else None

        with pytest.raises(Interrupted):
            trained(digits, tmp_path / "run", interrupts=interrupts, log=log)
    same(trained(digits, tmp_path / "run"), whole)
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert steps == list(range(1, STEPS + 1))


def test_checkpointing_at_every_step_changes_nothing(digits, whole, tmp_path):
    same(trained(digits, tmp_path / "run", checkpoint_seconds=1e-9), whole)


def test_sampling_or_measuring_in_between_changes_nothing(digits, whole, tmp_path, monkeypatch):
    class Disturb(Checkpoints, Callback):
        def on_train_batch_end(self, *args):
            torch.randn(7)
            torch.manual_seed(123)

    monkeypatch.setattr(training, "Checkpoints", Disturb)
    same(trained(digits, tmp_path / "run"), whole)


def test_another_seed_is_another_training(digits, whole, tmp_path):
    fit("denoiser", method(seed=1), digits, Runtime(accelerator="cpu"), tmp_path)
    other = load_file(tmp_path / "weights.safetensors")
    assert any(not torch.equal(other[name], whole[0][name]) for name in other)


def test_loading_takes_the_average_and_every_key(digits, whole, tmp_path):
    trained(digits, tmp_path / "run")
    net = method(seed=5).trained
    load_weights(net, tmp_path / "run")
    assert all(torch.equal(value, whole[1][name]) for name, value in net.state_dict().items())
