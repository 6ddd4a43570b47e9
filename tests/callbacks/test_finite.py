"""Steps that are not finite: what stops, what is skipped, and what is left to look at."""

import json

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import nn

from condiff.callbacks.checkpoint import Checkpoints, SafetensorsIO, newest
from condiff.callbacks.ema import Ema
from condiff.callbacks.finite import SKIPS, FiniteSteps
from condiff.callbacks.power_averages import PowerAverages
from condiff.errors import CondiffError, DivergedError
from condiff.interrupts import Interrupted, Interrupts
from condiff.methods.optimizers import AdamW
from condiff.stages.training import stepping

HUGE = 1e9  # over the largest float16 once it is scaled


class Line(LightningModule):
    """Fits 3 x by one weight; at the steps in ``huge`` its gradient does not fit float16, its loss does."""

    def __init__(self, huge=(), poison=None, steps=12):
        super().__init__()
        self.w = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.w.weight)
        self.huge, self.poison, self.steps = huge, poison, steps

    def training_step(self, batch, i):
        out = self.w(batch["x"]).float()
        out.register_hook(lambda g: g * (HUGE if self.global_step in self.huge else 1.0))
        loss = (out - 3 * batch["x"]).square().mean() / 16
        loss = loss * float("nan") if self.global_step == self.poison else loss
        self.scalars = {"loss": loss.detach()}
        return loss

    def configure_optimizers(self):
        optimizer, schedule = AdamW(lr=0.1, warmup=4, flat=0.5)(self.parameters(), self.steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class Seen(Callback):
    def __init__(self):
        self.weights, self.rates = [], []

    def on_train_batch_end(self, trainer, module, *_):
        self.weights.append(float(module.w.weight))
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


class Rows(torch.utils.data.Dataset[dict[str, object]]):
    def __len__(self):
        return 100

    def __getitem__(self, i):
        return {"x": torch.ones(1), "key": f"picture {i}", "place": i}


def fit(module, callbacks, precision="16-mixed", resume=None):
    trainer = Trainer(
        max_steps=module.steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        plugins=[SafetensorsIO(), stepping(precision, "cpu")],
    )
    trainer.fit(module, torch.utils.data.DataLoader(Rows(), 2), ckpt_path=resume)
    return trainer


def test_a_gradient_that_does_not_fit_float16_leaves_the_weights_and_halves_the_scale():
    module, seen = Line(huge=(5,)), Seen()
    finite, ema = FiniteSteps("line", [*module.parameters()], 1.0), Ema(module, 0.9)
    trainer = fit(module, [finite, seen, ema])
    assert seen.weights[5] == seen.weights[4]
    assert len({*seen.weights}) == len(seen.weights) - 1  # every other step moves them
    scale = trainer.precision_plugin.scaler.get_scale()  # pyright: ignore[reportAttributeAccessIssue]
    assert (scale, finite.skipped, finite.in_a_row) == (65536.0 / 2, 1, 0)
    assert (trainer.global_step, ema.updates) == (12, 12)
    whole = Seen()
    fit(Line(), [whole])
    assert seen.rates == whole.rates  # the schedule is of steps, not of steps that changed something
    assert finite.row() == {"loss_scale": 65536.0 / 2, "skipped_steps": 1.0}


def test_a_skipped_step_leaves_averages_as_they_are_and_counts():
    module, seen = Line(huge=(5,)), []
    plain = Ema(module, 0.9)
    power = PowerAverages(module, [0.1], 1, module.steps, lambda *_: None)

    class Look(Callback):
        def on_train_batch_end(self, *_):
            seen.append((float(plain.average[0]), float(power.averages[0.1][0])))

    fit(module, [FiniteSteps("line", [*module.parameters()], 1.0), plain, power, Look()])
    assert seen[5] == seen[4]
    assert len({*seen}) == len(seen) - 1  # every other step moves them
    assert (plain.updates, power.updates) == (12, 12)


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_one_loss_that_is_not_finite_stops_the_run_whatever_its_scale(precision):
    module = Line(poison=5)
    with pytest.raises(DivergedError, match="step 5 is nan"):
        fit(module, [FiniteSteps("line", [*module.parameters()], 1.0)], precision)


def test_the_norm_that_is_clipped_is_that_of_the_gradient_itself():
    """The fused optimizer takes the scale off in its step, which is too late."""
    module = Line(steps=1)
    finite = FiniteSteps("line", [*module.parameters()], 0.01)
    fit(module, [finite])
    assert float(finite.norm) == pytest.approx(0.25)  # 2 (3 - 1) / 16


@pytest.mark.parametrize("lacks", ["asks", "stepped", "clipped"])
def test_what_is_trained_must_be_stepped_and_clipped_or_it_ends_before_a_step(lacks):
    """Three sets of tensors, each of which lacks one in turn; the optimizer is the one that was built."""
    module = Line(steps=1)
    module.more = nn.Linear(1, 1, bias=False)
    first, second = module.parameters()
    second.requires_grad = lacks != "asks"
    if lacks == "stepped":
        configured = AdamW(lr=0.1)([first], 1)
        module.configure_optimizers = lambda: [configured[0]]
    clipped = [first] if lacks == "clipped" else [first, second]
    counts = {"asks": (1, 2, 2), "stepped": (2, 1, 2), "clipped": (2, 2, 1)}[lacks]
    said = "line: {} tensors ask for a gradient, the optimizer steps {} and {} are clipped, of 2 in all"
    with pytest.raises(CondiffError, match=said.format(*counts)):
        fit(module, [FiniteSteps("line", clipped, 1.0)], "32-true")
    assert first.grad is None


def test_resumed_after_a_skipped_step_it_ends_bit_for_bit_the_same(tmp_path):
    whole = Line(huge=(2, 3, 7))
    average = Ema(whole, 0.9)
    fit(whole, [FiniteSteps("line", [*whole.parameters()], 1.0), average])
    part, interrupts = Line(huge=(2, 3, 7)), Interrupts()

    class StopAt(Callback):
        def on_train_batch_start(self, trainer, *_):
            interrupts.pending = 15 if trainer.global_step == 3 else None

    kept = Checkpoints(tmp_path, 1e9, interrupts)
    with pytest.raises(Interrupted):
        fit(part, [FiniteSteps("line", [*part.parameters()], 1.0), StopAt(), Ema(part, 0.9), kept])
    again = Line(huge=(2, 3, 7))
    finite, again_average = FiniteSteps("line", [*again.parameters()], 1.0), Ema(again, 0.9)
    fit(again, [finite, again_average], resume=newest(tmp_path, print))
    assert torch.equal(again.w.weight, whole.w.weight)
    assert torch.equal(again_average.average[0], average.average[0])
    assert finite.skipped == 3


def test_more_skips_in_a_row_than_a_scale_explains_stop_the_run(tmp_path):
    module = Line(huge=range(3, 100), steps=40)
    with pytest.raises(DivergedError, match=rf"step {3 + SKIPS} is inf, {SKIPS + 1} steps in a row"):
        fit(module, [FiniteSteps("line", [*module.parameters()], 1.0)])


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_what_is_known_of_the_step_is_left_beside_the_checkpoints(tmp_path, precision):
    step = {"32-true": 3, "16-mixed": 3 + SKIPS}[precision]
    huge = {"32-true": (), "16-mixed": range(3, 100)}[precision]
    module = Line(huge, poison=step, steps=40)
    with pytest.raises(DivergedError) as caught:
        fit(module, [FiniteSteps("denoiser", [*module.parameters()], 1.0, tmp_path)], precision)
    (path,) = (tmp_path / "diverged").iterdir()
    assert str(path) in caught.value.lines[0]
    found = json.loads(path.read_text())
    assert path.name == f"step={step:08d}_rank=0.json"
    assert found["step"] == step
    assert found["keys"] == [f"picture {2 * step}", f"picture {2 * step + 1}"]
    assert found["places"] == [2 * step, 2 * step + 1]
    assert found["loss"] == "nan"
    assert found["grad_norm"] == "nan"
