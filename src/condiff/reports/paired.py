"""Differences of two settings on the same samples, with 95 % intervals for pairs."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Z = 1.959964  # the normal's 97.5 % point
_ROUNDING = 1e-6  # of the largest value: what float32, in which networks see pictures, leaves uncertain
_REACH, _POINTS = 40.0, 200_001  # deviations and points of the integral of Student's density


@dataclass(frozen=True)
class Difference:
    """A mean over samples less that of the reference on the same samples."""

    value: float
    low: float
    high: float
    n: int
    gained: int | None = None  # hits that the reference has not; None for what is no hit or miss
    lost: int | None = None  # hits of the reference alone

    @property
    def discordant(self) -> int | None:
        """Samples that one hits and the other misses."""
        return None if self.gained is None or self.lost is None else self.gained + self.lost

    @property
    def is_told_apart(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def difference(values: np.ndarray, reference: np.ndarray) -> Difference | None:
    """Of two rows of values per sample, [N]: of hits (bool) or of measures.

    None where they are not of the same samples, fewer than two, or not finite.
    """
    if values.shape != reference.shape or values.dtype != reference.dtype or len(values) < 2:
        return None
    if values.dtype == np.bool_:
        gained, lost = int((values & ~reference).sum()), int((reference & ~values).sum())
        return of_hits(gained, lost, len(values))
    apart = values.astype(np.float64) - reference
    if np.abs(apart).max() <= _ROUNDING * np.abs(reference).max():
        apart = np.zeros_like(apart)  # of one set, looked at twice: no difference, however sure
    return of_measures(apart) if np.isfinite(apart).all() else None


def of_hits(gained: int, lost: int, n: int) -> Difference:
    """The difference of two proportions of n samples that share them, with the adjusted Wald interval.

    One is added to both kinds of discordant samples (Bonett & Price 2012): plain Wald is far too
    short where few samples are discordant.
    """
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = Z * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    low, high = max(-1.0, up - down - half), min(1.0, up - down + half)
    return Difference((gained - lost) / n, low, high, n, gained, lost)


def of_measures(apart: np.ndarray) -> Difference:
    """The mean of the differences of pairs, [N], with Student's interval."""
    n, mean = len(apart), float(apart.mean())
    half = t_quantile(n - 1) * float(apart.std(ddof=1)) / math.sqrt(n)
    return Difference(mean, mean - half, mean + half, n)


@lru_cache
def t_quantile(freedom: int) -> float:
    """The 97.5 % point of Student's t.

    With t = sqrt(freedom) tan(a) its density is that of an angle, proportional to cos(a)^(freedom - 1),
    whose integral from 0 is 0.95 of that to pi/2.
    """
    angle = np.linspace(0, min(math.pi / 2, _REACH / math.sqrt(freedom)), _POINTS)
    density = np.cos(angle).clip(min=0) ** (freedom - 1)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return math.sqrt(freedom) * math.tan(float(np.interp(0.95 * below[-1], below, angle)))
