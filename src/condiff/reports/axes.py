"""An axis of a plot: values to pixels, and where its ticks stand."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """Values from ``low`` to ``high`` laid between the pixels ``start`` and ``end``."""

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[float]
    place: Callable[[float], float] = float  # log10 on a log axis

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high = self.place(self.low), self.place(self.high)
        return self.start + (self.place(value) - low) / (high - low) * (self.end - self.start)


def linear_axis(values: Sequence[float], start: float, end: float, tight: bool = False) -> Axis:
    """Ticks a nice step apart; the ends are the outer ticks, or, if tight, the values'."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        room = abs(low) / 10 or 0.5
        low, high = low - room, high + room
    step = nice_step((high - low) / 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [k * step for k in range(first, last + 1)]
    if tight:
        return Axis(low, high, start, end, [tick for tick in ticks if low <= tick <= high])
    return Axis(ticks[0], ticks[-1], start, end, ticks)


def log_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """Ends at 1, 2 or 5 times a power of ten, ticks there too or, over many decades, at the powers alone."""
    low, high = min(values), max(values)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    marks = [factor * 10.0**k for k in range(first - 1, last + 1) for factor in (1, 2, 5)]
    bottom = max(mark for mark in marks if mark <= low * (1 + 1e-9))
    top = min(mark for mark in [*marks, 10.0 ** (last + 1)] if mark >= high * (1 - 1e-9) and mark > bottom)
    every = math.ceil(math.log10(top / bottom) / 6)  # decades from tick to tick, for at most seven of them
    powers = [10.0**k for k in range(first, last + 1, every) if bottom <= 10.0**k <= top]
    ticks = [mark for mark in marks if bottom <= mark <= top]
    return Axis(bottom, top, start, end, ticks if len(ticks) <= 7 else powers, math.log10)


def nice_step(raw: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below ``raw``."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))


def short(value: float) -> str:
    """A tick's label: ``1.5k`` for 1500, at most four digits."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:.4g}M"
    if abs(value) >= 1e3:
        return f"{value / 1e3:.4g}k"
    return f"{value:.4g}" if abs(value) > 1e-12 else "0"
