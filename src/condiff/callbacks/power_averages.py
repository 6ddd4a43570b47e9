"""Averages that are a share of the training long, kept now and then for others to be made of them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from condiff.averages import decay, exponent
from condiff.callbacks.finite import FiniteSteps
from condiff.divided import gathered, like

Keep = Callable[[int, float, dict[str, Tensor]], None]  # step, length, the averaged parameters


class PowerAverages(Callback):
    """One for each length, of the given parameters and nothing else; see ``condiff.averages``.

    They are handed to ``keep`` at ``snapshots`` steps, evenly over the training, the last at its end.
    """

    def __init__(
        self, module: nn.Module, lengths: Sequence[float], snapshots: int, steps: int, keep: Keep
    ) -> None:
        self.exponents = {length: exponent(length) for length in lengths}
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in named]
        self.parameters: list[Tensor] = [p for _, p in named]
        self.averages: dict[float, list[Tensor]] = {}
        self.at = {steps * (k + 1) // snapshots for k in range(snapshots)} - {0}
        self.keep, self.updates = keep, 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.averages:  # on a resume they are already there
            self.averages = {
                length: [p.detach().clone() for p in self.parameters] for length in self.exponents
            }

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step <= self.updates:  # an accumulated batch takes no step
            return
        self.updates += 1
        is_skipped = FiniteSteps.skipped_one(trainer)
        for length, gamma in self.exponents.items():
            share = 0.0 if is_skipped else 1 - decay(gamma, self.updates)
            torch._foreach_lerp_(self.averages[length], self.parameters, share)  # pyright: ignore[reportPrivateImportUsage]
            if self.updates in self.at:
                found = dict(zip(self.names, self.averages[length], strict=True))
                self.keep(self.updates, length, gathered(found))

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "averages": [[*some] for some in self.averages.values()]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.updates = state_dict["updates"]
        self.averages = {
            length: [like(value, p) for value, p in zip(some, self.parameters, strict=True)]
            for length, some in zip(self.exponents, state_dict["averages"], strict=True)
        }
