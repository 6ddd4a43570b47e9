"""A moving average of the weights."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from condiff.callbacks.finite import FiniteSteps
from condiff.divided import like
from condiff.ranges import Probability, checked


class Ema(Callback):
    """decay_n = min(decay, (1 + n) / (10 + n)) at step n, over the given parameters and nothing else."""

    @checked
    def __init__(self, module: nn.Module, decay: Probability) -> None:
        self.decay = decay
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in named]
        self.parameters: list[Tensor] = [p for _, p in named]
        self.average: list[Tensor] = []
        self.updates = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.average:  # on a resume the average is already there
            self.average = [p.detach().clone() for p in self.parameters]

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step <= self.updates:  # an accumulated batch takes no step
            return
        if FiniteSteps.skipped_one(trainer):
            self.updates += 1
        else:
            self.update()

    @torch.no_grad()
    def update(self) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.average, self.parameters, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]

    def weights(self) -> dict[str, Tensor]:
        return dict(zip(self.names, self.average, strict=True))

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "average": self.weights()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.updates = state_dict["updates"]
        self.average = [
            like(state_dict["average"][name], p) for name, p in zip(self.names, self.parameters, strict=True)
        ]
