"""Checkpoints, averages and halts, on a training small enough to follow by hand."""

import json
import os
import signal

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from safetensors import safe_open
from torch import nn

from condiff.callbacks import checkpoint
from condiff.callbacks.checkpoint import Checkpoints, SafetensorsIO, newest
from condiff.callbacks.clock import Clock
from condiff.callbacks.ema import Ema
from condiff.callbacks.finite import FiniteSteps
from condiff.callbacks.watch import WhileTraining
from condiff.errors import ArtifactError, DivergedError
from condiff.files import written_whole
from condiff.interrupts import EXIT_CODES, Interrupted, Interrupts
from condiff.networks.unet import UNet


class Line(LightningModule):
    """Fits 3 x by a single weight; ``poison`` makes the loss of a step not a number."""

    def __init__(self, poison: int | None = None) -> None:
        super().__init__()
        self.w = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.w.weight)
        self.poison = poison

    def training_step(self, batch, i):
        loss = (self.w(batch) - 3 * batch).square().mean()
        return loss * float("nan") if self.global_step == self.poison else loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 0.1)


class Watch(Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, *_):
        self.seen.append(float(module.w.weight))


def fit(module, callbacks, steps=6, resume=None):
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        plugins=[SafetensorsIO()],
    )
    trainer.fit(module, torch.utils.data.DataLoader(torch.ones(100, 1), 1), ckpt_path=resume)
    return trainer


def test_the_average_follows_its_formula():
    module, watch = Line(), Watch()
    ema = Ema(module, decay=0.3)
    fit(module, [watch, ema])
    expected = 1.0
    for n, weight in enumerate(watch.seen, 1):
        decay = min(0.3, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weight
    assert float(ema.weights()["w.weight"]) == pytest.approx(expected, rel=1e-6)
    assert (1 + 1) / (10 + 1) < 0.3 < (1 + 6) / (10 + 6)  # the case covers the warm-up and what follows


def test_a_loss_that_is_no_number_stops_before_the_weights_see_it():
    module, watch = Line(poison=3), Watch()
    with pytest.raises(DivergedError, match="step 3 is nan"):
        fit(module, [FiniteSteps("line", list(module.parameters()), 1.0), watch])
    assert float(module.w.weight) == watch.seen[-1]
    assert len(watch.seen) == 3


@pytest.mark.parametrize(("stage", "key"), [("denoiser", "trainer"), ("autoencoder", "autoencoder.trainer")])
def test_one_that_does_not_clip_is_told_the_key_of_its_own_stage(stage, key):
    module = Line(poison=1)
    with pytest.raises(DivergedError, match=rf"or clip its norm \({key}\.clip=1\.0\)$"):
        fit(module, [FiniteSteps(stage, list(module.parameters()), None)])


def test_the_gradient_is_clipped_to_the_norm():
    module, seen = Line(), []
    finite = FiniteSteps("line", list(module.parameters()), 0.01)

    class Look(Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            seen.append(float(module.w.weight.grad.norm()))

    fit(module, [finite, Look()], steps=1)
    assert seen == [pytest.approx(0.01, rel=1e-3)]
    assert finite.norm == pytest.approx(4.0)  # before clipping: 2 (1 - 3)


def test_a_resumed_training_ends_bit_for_bit_like_an_uninterrupted_one(tmp_path):
    whole, whole_ema = Line(), None
    whole_ema = Ema(whole, 0.9)
    fit(whole, [whole_ema], steps=8)

    part, interrupts = Line(), Interrupts()
    keep = Checkpoints(tmp_path, 1e9, interrupts)

    class StopAt(Callback):
        def on_train_batch_start(self, trainer, *_):
            interrupts.pending = 15 if trainer.global_step == 4 else None

    with pytest.raises(Interrupted):
        fit(part, [StopAt(), Ema(part, 0.9), keep], steps=8)
    again = Line()
    again_ema = Ema(again, 0.9)
    path = newest(tmp_path, print)
    assert path is not None
    assert path.name == "step=00000005.safetensors"
    trainer = fit(again, [again_ema], steps=8, resume=path)
    assert trainer.global_step == 8
    assert torch.equal(again.w.weight, whole.w.weight)
    assert torch.equal(again_ema.average[0], whole_ema.average[0])
    assert again_ema.updates == 8


def test_a_signal_between_the_callbacks_of_a_step_ends_with_its_own_exception(tmp_path):
    """Lightning's handler, left in place, ends such a training as if all were well."""
    interrupts, before = Interrupts(), {signum: signal.getsignal(signum) for signum in EXIT_CODES}

    class Late(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 3:
                signal.raise_signal(signal.SIGTERM)

    interrupts.install()
    try:
        with pytest.raises(Interrupted) as stopped, interrupts.deferred():
            fit(Line(), [Checkpoints(tmp_path, 1e9, interrupts), Late()], steps=8)
        assert signal.getsignal(signal.SIGTERM) == interrupts._arrive
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    assert stopped.value.exit_code == 143
    assert [path.name for path in tmp_path.iterdir()] == ["step=00000004.safetensors"]


def checkpoints(folder, *steps):
    module = Line()
    for step in steps:
        trainer = fit(module, [Ema(module, 0.9)], steps=step)
        trainer.save_checkpoint(folder / f"step={step:08d}.safetensors")
    return module


def test_a_checkpoint_holds_tensors_and_plain_json(tmp_path):
    checkpoints(tmp_path, 2)
    with safe_open(tmp_path / "step=00000002.safetensors", "pt") as file:
        tree = json.loads(file.metadata()["tree"])
        assert len(list(file.keys())) >= 4  # the weight, its two moments and its average
    assert any(key == "loops" for key, _ in tree["items"])


def test_half_a_save_is_no_checkpoint_and_is_removed(tmp_path):
    """A process that is killed as it saves ends like this fork: without a word to anyone."""
    checkpoints(tmp_path, 2)
    number = os.fork()
    if number == 0:
        with written_whole(tmp_path / "step=00000004.safetensors") as temporary:
            temporary.write_bytes((tmp_path / "step=00000002.safetensors").read_bytes())
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(number, 0)
    assert len([*tmp_path.iterdir()]) == 2
    found = newest(tmp_path, print)
    assert [*tmp_path.iterdir()] == [found] == [tmp_path / "step=00000002.safetensors"]


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(tmp_path, damage):
    checkpoints(tmp_path, 2, 4)
    path = tmp_path / "step=00000004.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    said = []
    found = newest(tmp_path, lambda text, *args: said.append(text % args))
    assert found is not None
    assert found.name == "step=00000002.safetensors"
    assert len(said) == 1
    assert "step=00000004.safetensors" in said[0]
    assert (tmp_path / "step=00000004.bad").exists()


def test_only_damaged_checkpoints_never_mean_a_fresh_start(tmp_path):
    checkpoints(tmp_path, 2)
    (tmp_path / "step=00000002.safetensors").write_bytes(b"no")
    with pytest.raises(ArtifactError, match="no checkpoint in it can be read"):
        newest(tmp_path, lambda *_: None)


def test_no_checkpoints_mean_a_fresh_start(tmp_path):
    assert newest(tmp_path / "absent", print) is None


def test_only_the_two_newest_are_kept(tmp_path):
    module = Line()
    fit(module, [Checkpoints(tmp_path, 0.0, Interrupts())], steps=6)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "step=00000004.safetensors",
        "step=00000005.safetensors",
    ]


def test_what_takes_long_to_save_is_saved_less_often(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    saved, saves = [], Checkpoints(tmp_path, 10.0, Interrupts())

    class Slowly:
        global_step, max_steps = 0, 1000

        def save_checkpoint(self, path):
            saved.append(self.global_step)
            clock[0] += 2.0  # seconds a save, and one a step

    trainer = Slowly()
    for trainer.global_step in range(1, 251):
        clock[0] += 1.0
        saves.on_train_batch_end(trainer)
    assert saved == [10, 110, 210]


def test_metrics_while_training_are_of_the_averaged_weights_on_a_copy():
    module, seen, asked = Line(), {}, []
    ema = Ema(module, 0.5)

    def measure(copied):
        asked.append(copied)
        torch.randn(3)
        return {"weight": float(copied.w.weight)}

    watch = WhileTraining(module, ema, 4, measure, lambda step, values: seen.update({step: values}), Clock())
    fit(module, [ema, watch], steps=6)
    assert list(seen) == [4, 6]
    assert seen[6]["weight"] == float(ema.weights()["w.weight"])
    assert seen[6]["weight"] != float(module.w.weight.detach())
    assert all(copied is not module and not copied.training for copied in asked)
    plain = Line()
    fit(plain, [Ema(plain, 0.5)], steps=6)
    assert torch.equal(plain.w.weight, module.w.weight)


def test_a_base_is_looked_at_before_its_first_step_and_not_where_one_goes_on(tmp_path):
    def seen_by(steps, *more, resume=None):
        seen = {}
        parts = (4, lambda copied: float(copied.w.weight), lambda step, value: seen.update({step: value}))
        watch = WhileTraining(Line(), None, *parts, Clock(), first=True)
        fit(watch.module, [watch, *more], steps, resume)
        return seen

    seen = seen_by(5, Checkpoints(tmp_path, 0.0, Interrupts()))
    assert list(seen) == [0, 4, 5]
    assert seen[0] == 1.0
    assert list(seen_by(9, resume=newest(tmp_path, print))) == [8, 9]


def test_the_average_of_a_widened_network_begins_without_effect_too():
    net = UNet(channels=4, num_labels=3, size=8, widths=[16], attention=[False], concat_channels=4)
    ema = Ema(net, 0.99)
    ema.on_fit_start(None, None)  # pyright: ignore[reportArgumentType]
    assert not ema.weights()["net.conv_in.weight"][:, 4:].any()
    assert ema.weights()["net.conv_in.weight"][:, :4].any()
