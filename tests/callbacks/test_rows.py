"""What a row of a training says: throughput, gradient norm, loss by noise level."""

import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from condiff.callbacks.clock import Clock
from condiff.callbacks.finite import FiniteSteps
from condiff.callbacks.noise_levels import NAMES, LossByNoise
from condiff.callbacks.shares import Shares
from condiff.callbacks.steps import Progress, memory
from condiff.stages.parameters import parameters_of


@pytest.fixture
def now(monkeypatch):
    """A clock that stands still until it is set."""
    time_of = SimpleNamespace(now=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: time_of.now)
    return time_of


def test_what_is_done_while_the_clock_is_stopped_takes_no_time(now):
    clock = Clock()
    now.now += 3
    with clock.stopped():
        now.now += 1000
    now.now += 2
    assert clock.lap() == 5
    now.now += 1
    assert clock.lap() == 1


def test_throughput_is_images_of_all_devices_over_the_seconds_since_the_last_row(now):
    finite, clock, rows = FiniteSteps("x", [], None), Clock(), {}
    finite.norm = torch.tensor(2.5)
    training = SimpleNamespace(steps=25, batch_size=64, log_every=10)
    progress = Progress("x", training, rows.__setitem__, clock, finite, LossByNoise(), Shares())
    group = {"lr": 0.1}
    trainer = SimpleNamespace(global_step=0, optimizers=[SimpleNamespace(param_groups=[group])])
    module = SimpleNamespace(scalars={"loss": torch.tensor(1.5)}, device=torch.device("cpu"))
    progress.on_train_start(trainer, module)  # pyright: ignore[reportArgumentType]
    for step in range(1, 26):
        trainer.global_step = step
        now.now += 0.5
        progress.on_train_batch_end(trainer, module)  # pyright: ignore[reportArgumentType]
        with clock.stopped():
            now.now += 7
    assert list(rows) == [10, 20, 25]
    assert [row["images_per_second"] for row in rows.values()] == [128, 128, 128]
    assert all((row["loss"], row["lr"], row["grad_norm"]) == (1.5, 0.1, 2.5) for row in rows.values())


def test_a_process_has_used_more_memory_than_what_it_holds():
    held = torch.ones(25_000_000)  # 95 MiB
    assert memory(held.device) > 95


def batch_end(callback, noise, loss):
    seen = None if noise is None else (torch.tensor(noise), torch.tensor(loss))
    callback.on_train_batch_end(None, SimpleNamespace(by_noise=seen))


def test_losses_by_noise_level_are_means_over_the_steps_since_the_last_row():
    by_noise = LossByNoise()
    batch_end(by_noise, [0.0, 0.1, 0.5], [1.0, 2.0, 10.0])
    batch_end(by_noise, [0.19, 1.0, 0.55], [6.0, 4.0, 20.0])
    assert by_noise.row() == {"loss_noise_00_20": 3.0, "loss_noise_40_60": 15.0, "loss_noise_80_100": 4.0}
    assert by_noise.row() == {}
    assert NAMES == (
        "loss_noise_00_20",
        "loss_noise_20_40",
        "loss_noise_40_60",
        "loss_noise_60_80",
        "loss_noise_80_100",
    )


def test_a_method_without_noise_levels_has_no_such_columns():
    by_noise = LossByNoise()
    batch_end(by_noise, None, None)
    by_noise.on_train_batch_end(None, SimpleNamespace())  # pyright: ignore[reportArgumentType]
    assert by_noise.row() == {}
    assert by_noise.state_dict() == {"seen": []}


def test_what_was_seen_since_the_last_row_survives_a_checkpoint():
    first, second = LossByNoise(), LossByNoise()
    batch_end(first, [0.1, 0.3], [1.0, 2.0])
    second.load_state_dict(first.state_dict())
    for by_noise in (first, second):
        batch_end(by_noise, [0.1], [3.0])
    assert first.row() == second.row() == {"loss_noise_00_20": 2.0, "loss_noise_20_40": 2.0}


def test_shares_are_means_over_the_steps_since_the_last_row_and_survive_a_checkpoint():
    first, second = Shares(), Shares()

    def step(callback, share):
        scalars = {"loss": torch.tensor(share), "dropped_text": torch.tensor(share)}
        callback.on_train_batch_end(None, SimpleNamespace(scalars=scalars, shares=["dropped_text"]))

    step(first, 0.5)
    second.load_state_dict(first.state_dict())
    for callback in (first, second):
        step(callback, 0.0)
        step(callback, 0.25)
        assert {name: float(share) for name, share in callback.row().items()} == {"dropped_text": 0.25}
        step(callback, 1.0)
        assert {name: float(share) for name, share in callback.row().items()} == {"dropped_text": 1.0}
        callback.on_train_batch_end(None, SimpleNamespace())
        assert callback.row() == {}


def test_blocks_are_the_parts_of_the_outermost_module_that_has_parts():
    inner = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1, bias=False))
    inner[2].weight.requires_grad_(False)
    model = nn.ModuleDict({"net": inner})
    assert parameters_of(model) == {
        "class": "ModuleDict",
        "parameters": 12,
        "trainable": 9,
        "blocks": {"0": 9, "2": 3},
    }
    assert parameters_of(nn.Linear(1, 1))["blocks"] == {"itself": 2}
