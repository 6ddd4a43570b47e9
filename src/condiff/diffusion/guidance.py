"""Guidance: from the models of a study to one denoiser.

``scale`` means one thing everywhere: 1 is the plain conditional model, 0 the reference it is
pushed away from (null condition, weaker model, no classifier), and above 1 extrapolates.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import Denoiser
from condiff.diffusion.parameterization import Prediction
from condiff.diffusion.process import Marginal, Process
from condiff.ranges import NonNegative, Positive, checked


@dataclass(frozen=True, slots=True)
class Models:
    """What a study has trained, for a guidance to choose from."""

    denoiser: Denoiser
    classifier: Callable[[Tensor, Marginal, Condition], Tensor] | None = None  # log p(c | x_t), [B]
    weaker: Denoiser | None = None


class Guidance(Protocol):
    """A rule that makes one denoiser out of the models of a study."""

    needs_null: ClassVar[bool]  # compares with the null condition, so the model must know it

    def __call__(self, models: Models) -> Denoiser: ...


class Guided:
    """A denoiser made out of others."""

    def __init__(self, process: Process, rule: Callable[[Tensor, Marginal, Condition], Prediction]) -> None:
        self.process = process
        self.rule = rule

    def __call__(self, x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
        return self.rule(x_t, m, cond)


class NoGuidance:
    """The conditional model as it is."""

    needs_null: ClassVar[bool] = False

    def __call__(self, models: Models) -> Denoiser:
        return models.denoiser


class ClassifierFree:
    """null + scale (cond - null) (Ho & Salimans 2022, eq. 6, with w = scale - 1), both in one batch."""

    needs_null: ClassVar[bool] = True

    @checked
    def __init__(self, scale: NonNegative) -> None:
        self.scale = scale

    def __call__(self, models: Models) -> Denoiser:
        if self.scale == 1:
            return models.denoiser

        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            both = models.denoiser(torch.cat([x_t, x_t]), m.tile(2), cond.cat(cond.without()))
            asked, free = both.split(2)
            return Prediction.affine((self.scale, asked), (1 - self.scale, free))

        return Guided(models.denoiser.process, rule)


class Interval:
    """Guide only where low < sigma / alpha <= high (Kynkaanniemi 2024).

    Given as noise levels, the interval is the same whatever the number of steps.
    """

    needs_null: ClassVar[bool] = False

    @checked
    def __init__(self, inner: Guidance, low: NonNegative, high: Positive) -> None:
        if not low < high:
            raise ValueError(f"Interval.low must be below Interval.high, got {low:g} and {high:g}")
        self.inner, self.low, self.high = inner, low, high

    def __call__(self, models: Models) -> Denoiser:
        guided, plain = self.inner(models), models.denoiser

        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            if m.level is not None:
                return (guided if self.low < m.level <= self.high else plain)(x_t, m, cond)
            inside = (m.sigma > self.low * m.alpha) & (
                m.sigma <= self.high * m.alpha
            )  # a batch of many times
            return guided(x_t, m, cond).where(inside, plain(x_t, m, cond))

        return Guided(plain.process, rule)


class Chain:
    """Several guidances, each applied to the denoiser that the one before it made."""

    needs_null: ClassVar[bool] = False

    @checked
    def __init__(self, links: list[Guidance]) -> None:
        if not links:
            raise ValueError("Chain.links must name at least one guidance; for no guidance use NoGuidance")
        self.links = links

    def __call__(self, models: Models) -> Denoiser:
        for link in self.links:
            models = replace(models, denoiser=link(models))
        return models.denoiser
