"""Numbers that have a range, said once in a constructor's annotation.

The config is checked against these annotations without importing torch, and ``checked`` holds
the same ranges when an object is built from Python.
"""

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_type_hints


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from ``low`` to ``high``; an end with ``over`` or ``below`` set does not count."""

    low: float = -math.inf
    high: float = math.inf
    over: bool = False  # strictly more than low
    below: bool = False  # strictly less than high

    def __contains__(self, value: float) -> bool:
        above_low = value > self.low if self.over else value >= self.low
        under_high = value < self.high if self.below else value <= self.high
        return bool(above_low and under_high and math.isfinite(value))

    def __str__(self) -> str:
        if self.low == -math.inf and self.high == math.inf:
            return "finite"
        if self.high == math.inf:
            return f"{'>' if self.over else '>='} {self.low:g}"
        if self.low == -math.inf:
            return f"{'<' if self.below else '<='} {self.high:g}"
        return f"in {'(' if self.over else '['}{self.low:g}, {self.high:g}{')' if self.below else ']'}"


Count = Annotated[int, Range(low=1)]
Natural = Annotated[int, Range(low=0)]
Real = Annotated[float, Range()]
Positive = Annotated[float, Range(low=0, over=True)]
NonNegative = Annotated[float, Range(low=0)]
Fraction = Annotated[float, Range(low=0, high=1)]
Probability = Annotated[float, Range(low=0, high=1, below=True)]


def range_of(annotation: Any) -> Range | None:
    """The range in an annotation such as ``Count`` or ``Count | None``, if it has one."""
    for part in getattr(annotation, "__metadata__", ()):
        if isinstance(part, Range):
            return part
    found = (range_of(part) for part in get_args(annotation))
    return next((part for part in found if part is not None), None)


def checked(init: Callable[..., None]) -> Callable[..., None]:
    """Make a constructor hold the ranges of its annotations; a number outside raises ValueError."""
    signature = inspect.signature(init)

    @functools.cache
    def ranges() -> dict[str, Range]:
        hints = get_type_hints(init, include_extras=True)
        return {name: found for name, hint in hints.items() if (found := range_of(hint))}

    @functools.wraps(init)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs).arguments
        for name, allowed in ranges().items():
            value = given.get(name)
            if isinstance(value, int | float) and value not in allowed:
                raise ValueError(f"{type(self).__name__}.{name} must be {allowed}, got {value!r}")
        init(self, *args, **kwargs)

    return wrapper
