"""Metrics and pictures while training."""

import copy
from collections.abc import Callable, Collection
from typing import Any, Generic, TypeVar

import torch
from lightning import Callback, Trainer
from torch import Tensor, nn

from condiff.callbacks.clock import Clock
from condiff.callbacks.ema import Ema
from condiff.callbacks.ranks import Alone, Ranks

Seen = TypeVar("Seen")


class WhileTraining(Callback, Generic[Seen]):
    """Looks at a copy of a module with its averaged weights every so many steps, and at the end.

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
    ) -> None:
        self.module, self.ema, self.every = module, ema, every
        self.look, self.write, self.clock = look, write, clock
        self.ranks = ranks or Alone()  # one of them looks, and the others wait for it at their next step

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        step = trainer.global_step
        if step % self.every and step != trainer.max_steps:
            return
        self.ranks.pause()
        with self.clock.stopped(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            self.write(step, self.look(self.averaged()))

    def averaged(self) -> nn.Module:
        """The module as it would be saved now."""
        found = copy.deepcopy(self.module).eval().requires_grad_(False)
        found.load_state_dict(self.state())
        return found

    def state(self) -> dict[str, Tensor]:
        return as_saved(self.module, self.ema)


class TogetherWhileTraining(WhileTraining[Seen]):
    """All ranks look, each at a copy with the averaged weights, which only the leading one keeps."""

    def state(self) -> dict[str, Tensor]:
        return self.ranks.of_first(super().state())


class WeightsOnTheWay(Callback):
    """Hands on the weights of some steps, as they would be saved if that were the end."""

    def __init__(
        self,
        module: nn.Module,
        ema: Ema | None,
        steps: Collection[int],
        write: Callable[[int, dict[str, Tensor]], None],
    ) -> None:
        self.module, self.ema, self.steps, self.write = module, ema, steps, write

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step in self.steps:
            self.write(trainer.global_step, as_saved(self.module, self.ema))


def as_saved(module: nn.Module, ema: Ema | None) -> dict[str, Tensor]:
    """The state of a module with its averaged weights, if it has any."""
    return {**module.state_dict(), **({} if ema is None else ema.weights())}
