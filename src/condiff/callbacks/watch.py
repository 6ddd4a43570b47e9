"""Metrics and pictures while training."""

import copy
from collections.abc import Callable, Collection
from typing import Any, Generic, TypeVar

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from condiff.callbacks.clock import Clock
from condiff.callbacks.ema import Ema
from condiff.callbacks.ranks import Alone, Ranks
from condiff.divided import gathered

Seen = TypeVar("Seen")


class WhileTraining(Callback, Generic[Seen]):
    """Looks at a copy of a module with its averaged weights every so many steps, and at the end.

    first: also before the first step, where there is something to see by then.
    plain: what is copied, where the trained module is held in parts; else the trained module itself.
    The copy lies outside the trained module, its checkpoint and its moving average, and who looks at it
    draws with generators of its own: a training that is watched ends like one that is not. What the look
    gives is written; neither counts as time of the training.
    """

    def __init__(
        self,
        module: nn.Module,
        ema: Ema | None,
        every: int,
        look: Callable[[nn.Module], Seen],
        write: Callable[[int, Seen], None],
        clock: Clock,
        ranks: Ranks | None = None,
        plain: nn.Module | None = None,
        first: bool = False,
    ) -> None:
        self.module, self.ema, self.every, self.plain = module, ema, every, plain or module
        self.look, self.write, self.clock, self.first = look, write, clock, first
        self.ranks = ranks or Alone()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.first and trainer.global_step == 0:  # and not where one goes on
            self.see(0, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if step % self.every == 0 or step == trainer.max_steps:
            self.see(step, pl_module)

    def see(self, step: int, pl_module: LightningModule) -> None:
        self.ranks.pause()
        with self.clock.stopped(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            state = self.state()
            if self.looks():
                self.write(step, self.look(self.averaged(state, pl_module.device)))

    def looks(self) -> bool:
        """One rank does, and the others wait for it at their next step."""
        return self.ranks.leads

    def averaged(self, state: dict[str, Tensor], device: torch.device) -> nn.Module:
        """The module as it would be saved now."""
        found = copy.deepcopy(self.plain).eval().requires_grad_(False).to(device)
        found.load_state_dict(state)
        return found

    def state(self) -> dict[str, Tensor]:
        return gathered(as_saved(self.module, self.ema))


class TogetherWhileTraining(WhileTraining[Seen]):
    """All ranks look, each at a copy with the averaged weights, which only the leading one keeps."""

    def looks(self) -> bool:
        return True

    def state(self) -> dict[str, Tensor]:
        return self.ranks.of_first(super().state())


class WeightsOnTheWay(Callback):
    """Hands on the weights of some steps, as they would be saved if that were the end, where it leads."""

    def __init__(
        self,
        module: nn.Module,
        ema: Ema | None,
        steps: Collection[int],
        ranks: Ranks,
        write: Callable[[int, dict[str, Tensor]], None],
    ) -> None:
        self.module, self.ema, self.steps, self.ranks, self.write = module, ema, steps, ranks, write

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step in self.steps:
            self.ranks.saving()
            weights = gathered(as_saved(self.module, self.ema))
            if self.ranks.leads:
                self.write(trainer.global_step, weights)


def as_saved(module: nn.Module, ema: Ema | None) -> dict[str, Tensor]:
    """The state of a module with its averaged weights, if it has any."""
    return {**module.state_dict(), **({} if ema is None else ema.weights())}
