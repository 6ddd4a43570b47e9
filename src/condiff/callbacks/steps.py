"""How far a training is: a bar and rows of scalars."""

import resource
import sys
from collections.abc import Callable
from typing import Any, Protocol

import torch
from lightning import Callback, LightningModule, Trainer

from condiff.callbacks.clock import Clock
from condiff.callbacks.finite import FiniteSteps
from condiff.callbacks.noise_levels import LossByNoise
from condiff.callbacks.ranks import Alone, Ranks
from condiff.callbacks.shares import Shares
from condiff.progress import bar

IMAGES_PER_SECOND, MEMORY = "images_per_second", "memory_mib"
OF_THE_MACHINE = (IMAGES_PER_SECOND, MEMORY)  # columns that differ between two runs of one training


class Schedule(Protocol):
    """How much is trained, and how often told."""

    steps: int
    batch_size: int  # of all devices together
    log_every: int


class Progress(Callback):
    """A bar that shows the loss, and a row of scalars of the global batch now and then, and at the end."""

    def __init__(
        self,
        name: str,
        training: Schedule,
        write: Callable[[int, dict[str, float]], None],
        clock: Clock,
        finite: FiniteSteps,
        by_noise: LossByNoise,
        shares: Shares,
        ranks: Ranks | None = None,
    ) -> None:
        self.name, self.training, self.write = name, training, write
        self.clock, self.finite, self.by_noise, self.shares = clock, finite, by_noise, shares
        self.ranks = ranks or Alone()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.bar = bar(self.training.steps, self.name, done=trainer.global_step)
        self.written = trainer.global_step
        self.clock.lap()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        step = trainer.global_step
        self.bar.update(step - self.bar.n)
        if step > self.written and (step % self.training.log_every == 0 or step == self.training.steps):
            row = self._row(trainer, pl_module)
            self.bar.set_postfix_str(f"loss {row['loss']:.4f}", refresh=False)
            self.written = step
            self.write(step, row)

    def _row(self, trainer: Trainer, pl_module: Any) -> dict[str, float]:
        scalars = {**pl_module.scalars, **self.shares.row()}
        part = {key: float(value.detach()) for key, value in scalars.items()}
        images = (trainer.global_step - self.written) * self.training.batch_size
        return {
            **self.ranks.mean(part),
            **self.by_noise.row(),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "grad_norm": float(self.finite.norm),
            **self.finite.row(),
            IMAGES_PER_SECOND: round(images / max(self.clock.lap(), 1e-9), 2),
            MEMORY: memory(pl_module.device),
        }

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.bar.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if hasattr(self, "bar"):
            self.bar.close()


def memory(device: torch.device) -> float:
    """The most that was in use so far, MiB: of the device's own memory, on a CPU of the whole process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, on macOS bytes
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
