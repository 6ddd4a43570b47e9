"""Metrics and pictures while training."""

import copy
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from lightning import Callback, Trainer
from torch import nn

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
        self.ranks = ranks or Alone()  # this one looks, and the others wait for it at their next step

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
        if self.ema is not None:
            found.load_state_dict({**found.state_dict(), **self.ema.weights()})
        return found
