"""What happens around an optimizer step: clipping, a halt at numbers that are not finite, progress."""

from collections.abc import Callable
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer

from condiff.callbacks.ranks import Alone, Ranks
from condiff.errors import DivergedError
from condiff.progress import bar


class FiniteSteps(Callback):
    """Clips the gradient's norm; one that is not finite stops the run before the weights see it."""

    def __init__(self, name: str, parameters: list[nn.Parameter], clip: float | None) -> None:
        self.name, self.parameters, self.clip = name, parameters, clip

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        limit = float("inf") if self.clip is None else self.clip
        self.norm = nn.utils.clip_grad_norm_(self.parameters, limit, foreach=True)
        if not torch.isfinite(self.norm):
            advice = "" if self.clip else " or clip its norm (trainer.clip=1.0)"
            raise DivergedError(
                f"{self.name}: the gradient at step {trainer.global_step} is {float(self.norm)}; "
                f"lower the learning rate of its optimizer{advice}"
            )


class Progress(Callback):
    """A bar that shows the loss, and a row of scalars of the global batch every ``every`` steps."""

    def __init__(
        self,
        name: str,
        steps: int,
        every: int,
        write: Callable[[int, dict[str, float]], None],
        ranks: Ranks | None = None,
    ) -> None:
        self.name, self.steps, self.every, self.write = name, steps, every, write
        self.ranks = ranks or Alone()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.bar = bar(self.steps, self.name, done=trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        step = trainer.global_step
        self.bar.update(step - self.bar.n)
        if step % self.every == 0 or step == self.steps:
            part = {key: float(value.detach()) for key, value in pl_module.scalars.items()}
            row = self.ranks.mean(part)
            self.bar.set_postfix_str(f"loss {row['loss']:.4f}", refresh=False)
            self.write(step, {**row, "lr": trainer.optimizers[0].param_groups[0]["lr"]})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.bar.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if hasattr(self, "bar"):
            self.bar.close()
