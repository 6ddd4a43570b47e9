"""Shares of samples, of which one batch says little, such as that of dropped conditions."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor


class Shares(Callback):
    """Means over the steps since the last row of those scalars of a method that are ``shares``.

    Nothing waits for a device until a row is due. What was seen so far is part of a checkpoint; all ranks
    go on from what the one that saved it had seen.
    """

    def __init__(self) -> None:
        self.seen: dict[str, list[Tensor]] = {}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        for name in getattr(pl_module, "shares", ()):
            self.seen.setdefault(name, []).append(pl_module.scalars[name])  # pyright: ignore

    def row(self) -> dict[str, Tensor]:
        """Of the samples that this rank has seen; begins anew."""
        found = {
            name: torch.stack([value.cpu() for value in some]).mean() for name, some in self.seen.items()
        }
        self.seen = {}
        return found

    def state_dict(self) -> dict[str, Any]:
        return {"seen": {name: torch.stack(some) for name, some in self.seen.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seen = {name: [*some] for name, some in state_dict["seen"].items()}
