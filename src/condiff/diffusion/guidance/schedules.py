"""Classifier-free guidance whose scale changes on the way."""

import math
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import Denoiser
from condiff.diffusion.guidance import Guided, Models, Rule, together
from condiff.diffusion.parameterization import Prediction
from condiff.diffusion.process import Marginal
from condiff.ranges import NonNegative, Positive, checked


class Schedule(ABC):
    """A scale at each share of the way from noise (0) to data (1)."""

    @abstractmethod
    def __call__(self, done: Tensor) -> Tensor:
        """The scales at these shares, of the same shape."""


class Constant(Schedule):
    """The same scale all the way."""

    @checked
    def __init__(self, scale: NonNegative) -> None:
        self.scale = scale

    def __call__(self, done: Tensor) -> Tensor:
        return torch.full_like(done, self.scale)


class Linear(Schedule):
    """On a line from ``start`` to ``end`` (Wang 2024, sec. 4)."""

    called_scales: ClassVar[tuple[str, ...]] = ("start", "end")

    @checked
    def __init__(self, start: NonNegative, end: NonNegative) -> None:
        self.start, self.end = start, end

    def __call__(self, done: Tensor) -> Tensor:
        return self.start + (self.end - self.start) * self.shape(done)

    def shape(self, done: Tensor) -> Tensor:
        """How much of the change is made, from 0 to 1."""
        return done


class Cosine(Linear):
    """Slow at both ends: (1 - cos(pi done)) / 2 of the change (Wang 2024, sec. 4)."""

    def shape(self, done: Tensor) -> Tensor:
        return (1 - torch.cos(math.pi * done)) / 2


class Power(Linear):
    """done^power of the change: late where power > 1, early where it is < 1."""

    @checked
    def __init__(self, start: NonNegative, end: NonNegative, power: Positive) -> None:
        super().__init__(start, end)
        self.power = power

    def shape(self, done: Tensor) -> Tensor:
        return done**self.power


class Monotone(Schedule):
    """Through given scales at even distances, with lines between them; they only rise or only fall."""

    one_way: ClassVar[bool] = True
    called_scales: ClassVar[tuple[str, ...]] = ("scales",)

    @checked
    def __init__(self, scales: list[NonNegative]) -> None:
        if len(scales) < 2 or (scales != sorted(scales) and scales != sorted(scales, reverse=True)):
            raise ValueError(f"Monotone.scales must be two or more that only rise or only fall, got {scales}")
        self.scales = scales

    def __call__(self, done: Tensor) -> Tensor:
        place = done * (len(self.scales) - 1)
        rises = ((b - a) * (place - n).clamp(0, 1) for n, (a, b) in enumerate(pairwise(self.scales)))
        return sum(rises, torch.full_like(done, self.scales[0]))


class ScheduledScale:
    """null + scale (cond - null) with a scale for each noise level.

    The share of the way is that of the process's own clock, so a level has the same scale with any grid
    and any number of steps.
    """

    needs_null: ClassVar[bool] = True

    @checked
    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def __call__(self, models: Models) -> Denoiser:
        return Guided(models, self._start)

    def _start(self, models: Models) -> Rule:
        process = models.denoiser.process

        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            done = (1 - process.noise_left(m.t)).clamp(0, 1)
            asked, free = together(models.denoiser, x_t, m, cond, cond.without())
            return asked.away_from(free, self.schedule(done))

        return rule
