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
from condiff.diffusion.denoiser import Denoiser, fresh
from condiff.diffusion.parameterization import Prediction
from condiff.diffusion.process import PURE_NOISE, Marginal
from condiff.ranges import NonNegative, Positive, checked

Rule = Callable[[Tensor, Marginal, Condition], Prediction]


@dataclass(frozen=True, slots=True)
class Models:
    """What a study has trained, for a guidance to choose from."""

    denoiser: Denoiser
    classifier: Callable[[Tensor, Marginal, Condition], Tensor] | None = None  # log p(c | x_t), [B]
    weaker: Denoiser | None = None

    def fresh(self) -> "Models":
        """The same models at the start of a generation."""
        return replace(self, denoiser=fresh(self.denoiser))


class Guidance(Protocol):
    """A rule that makes one denoiser out of the models of a study.

    It may also say ``needs_flow`` (works on straight processes only), ``needs_pixels`` (not on latents),
    ``needs_stage`` (trains its other model), ``needs_condition`` (fields that the conditioner must give),
    what of the ``samplers.ASIDES`` it ``asks`` of a sampler, or ``called_scales``: which of its arguments a
    report shows as its scales, where that is not ``scale``.
    """

    needs_null: ClassVar[bool]  # compares with the null condition, so the model must know it

    def __call__(self, models: Models) -> Denoiser: ...


class Guided:
    """A denoiser made out of others. ``start`` makes its rule anew for every generation."""

    def __init__(self, models: Models, start: Callable[[Models], Rule]) -> None:
        self.process = models.denoiser.process
        self.models, self.start = models, start
        self.rule = start(models)

    def __call__(self, x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
        return self.rule(x_t, m, cond)

    def fresh(self) -> "Guided":
        """The same denoiser, with no memory of what it was asked before."""
        return Guided(self.models.fresh(), self.start)


def together(denoiser: Denoiser, x_t: Tensor, m: Marginal, *conds: Condition) -> tuple[Prediction, ...]:
    """What a denoiser says of the same x_t under several conditions, asked in one batch."""
    n, first = len(conds), conds[0]
    rest = (replace(cond, null=first.null, others=first.others) for cond in conds[1:])
    return denoiser(torch.cat([x_t] * n), m.tile(n), first.cat(*rest)).split(n)


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
        return models.denoiser if self.scale == 1 else Guided(models, self._start)

    def _start(self, models: Models) -> Rule:
        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            asked, free = together(models.denoiser, x_t, m, cond, cond.without())
            return Prediction.affine((self.scale, asked), (1 - self.scale, free))

        return rule


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
        return Guided(models, self._start)

    def _start(self, models: Models) -> Rule:
        guided, plain = self.inner(models), models.denoiser

        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            if m.level is not None:
                level = min(m.level, PURE_NOISE)
                return (guided if self.low < level <= self.high else plain)(x_t, m, cond)
            inside = m.within(self.low, self.high)  # a batch of many times
            return guided(x_t, m, cond).where(inside, plain(x_t, m, cond))

        return rule


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
