"""How sure a number is: 95 % intervals, and what it would be of infinitely many samples."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Interval = tuple[float, float]
Z = 1.959964  # the normal's 97.5 % point


def wilson(right: int, n: int, z: float = 1.96) -> Interval:
    """The 95 % score interval of a proportion (Wilson 1927)."""
    p, spread = right / n, z * z / n
    centre = (p + spread / 2) / (1 + spread)
    half = z * math.sqrt(p * (1 - p) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def normal(value: float, terms: Tensor) -> Interval:
    """Of a value that is, to first order, the mean of independent terms, [N]."""
    half = Z * float(terms.var() / len(terms)) ** 0.5
    return value - half, value + half


def within(interval: Interval, bounds: Interval) -> Interval:
    """The part of an interval that a value can have at all."""
    low, high = bounds
    return min(max(interval[0], low), high), max(min(interval[1], high), low)


def bootstrap(
    statistic: Callable[[Tensor], Tensor], value: float, n: int, repeats: int, generator: torch.Generator
) -> Interval:
    """The percentiles of a statistic of n indices drawn with replacement (Efron 1979), moved to ``value``.

    A drawing holds 63 % distinct pictures, so a statistic with a bias in 1/n is off by that bias once
    more: the plain percentiles of a Frechet distance lie above it altogether. Their median is therefore
    laid on the value. That leaves the spread of the value at this n; the bias at this n stays in it.
    """
    drawn = torch.stack(
        [statistic(torch.randint(n, (n,), generator=generator)).double() for _ in range(repeats)]
    )
    low, middle, high = drawn.quantile(drawn.new_tensor([0.025, 0.5, 0.975])).tolist()
    return value + low - middle, value + high - middle


def at_infinity(counts: Sequence[int], values: Sequence[float]) -> float:
    """The intercept of a line through values over 1/n (Chong & Forsyth 2020, sec. 4.1)."""
    x = torch.tensor([1 / n for n in counts], dtype=torch.float64)
    y = torch.tensor(values, dtype=torch.float64)
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    return float(y.mean() - slope * x.mean())


def in_fixed_order(features: Tensor) -> Tensor:
    """The rows of [N, D] in an order that does not depend on which process brought which row.

    They are sorted along one direction, so that a seeded choice of rows is the same choice again.
    """
    seeded = torch.Generator().manual_seed(0)
    direction = torch.randn(features.shape[1], dtype=torch.float64, generator=seeded)
    return features[(features.double() @ direction.to(features.device)).argsort()]
