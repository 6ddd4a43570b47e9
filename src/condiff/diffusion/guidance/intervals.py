"""Intervals of noise: of the usual guidance, and of any in other units than sigma / alpha."""

import math
from typing import ClassVar

import torch

from condiff.diffusion.denoiser import Denoiser
from condiff.diffusion.guidance import ClassifierFree, Guidance, Interval, Models
from condiff.diffusion.process import PURE_NOISE, Process
from condiff.ranges import Fraction, NonNegative, Positive, Real, checked


class ClassifierFreeInterval:
    """Classifier-free guidance where low < sigma / alpha <= high only (Kynkaanniemi 2024).

    ``Interval`` limits any other guidance.
    """

    needs_null: ClassVar[bool] = True

    @checked
    def __init__(self, scale: NonNegative, low: NonNegative, high: Positive) -> None:
        self.interval = Interval(ClassifierFree(scale), low, high)

    def __call__(self, models: Models) -> Denoiser:
        return self.interval(models)


class LogSNRInterval:
    """Guide only where low <= log SNR < high, with log SNR = 2 log(alpha / sigma)."""

    needs_null: ClassVar[bool] = False

    @checked
    def __init__(self, inner: Guidance, low: Real, high: Real) -> None:
        if not low < high:
            raise ValueError(f"LogSNRInterval.low must be below high, got {low:g} and {high:g}")
        self.interval = Interval(inner, math.exp(-high / 2), math.exp(-low / 2))

    def __call__(self, models: Models) -> Denoiser:
        return self.interval(models)


class TrajectoryInterval:
    """Guide from one share of the way from noise (0) to data (1) to another, as the process paces it.

    The shares are turned into noise levels, so the same range is guided with any grid and any steps.
    """

    needs_null: ClassVar[bool] = False

    @checked
    def __init__(self, inner: Guidance, start: Fraction = 0.0, stop: Fraction = 1.0) -> None:
        if not start < stop:
            raise ValueError(f"TrajectoryInterval.start must be below stop, got {start:g} and {stop:g}")
        self.inner, self.start, self.stop = inner, start, stop

    def __call__(self, models: Models) -> Denoiser:
        process = models.denoiser.process
        low = 0.0 if self.stop == 1 else _level(process, 1 - self.stop)
        high = PURE_NOISE if self.start == 0 else _level(process, 1 - self.start)
        return Interval(self.inner, low, high)(models)


def _level(process: Process, noise_left: float) -> float:
    m = process.at(process.clock(torch.tensor([noise_left], dtype=torch.float64)))
    return float(m.sigma / m.alpha)
