"""Names beside points that lie close together."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = 7.5
# From the point, in points: close to it, and on circles around it with a line that leads there.
_CLOSE = ((6, 3), (6, -3), (-6, 3), (-6, -3), (0, 8), (0, -8))
_CIRCLES, _DIRECTIONS = (22, 36, 52, 70, 90, 112, 136, 162, 190, 220), 16
_FAR = 60.0  # points that count as much as a line through a name
_DOT = 2.9  # radius of a point
_ALONG = tuple(k / 10 for k in range(1, 10))  # where such a line is looked at
Spot = tuple[float, float]  # pixels


@dataclass(frozen=True)
class _Box:
    """Where a name would stand, in pixels."""

    left: float
    low: float
    right: float
    high: float

    def overlaps(self, other: "_Box") -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.low < other.high
            and other.low < self.high
        )

    def holds(self, spot: Spot) -> bool:
        return self.left <= spot[0] <= self.right and self.low <= spot[1] <= self.high

    def is_at(self, spot: Spot, reach: float) -> bool:
        """Whether it comes as close as this to a spot."""
        x, y = spot
        return self.left - reach <= x <= self.right + reach and self.low - reach <= y <= self.high + reach

    def is_crossed(self, places: np.ndarray) -> bool:
        """Whether some of these, [N, 2], lies in it."""
        x, y = places[:, 0], places[:, 1]
        inside = (x >= self.left) & (x <= self.right) & (y >= self.low) & (y <= self.high)
        return bool(inside.any())

    def is_inside(self, other: "_Box") -> bool:
        return other.holds((self.left, self.low)) and other.holds((self.right, self.high))


def label(
    axes: "Axes",
    points: Sequence[tuple[float, float, str]],
    paints: Sequence[str],
    drawn: Sequence[Sequence[tuple[float, float]]] = (),
) -> None:
    """Write each name where it hides nothing: beside its point, or farther off with a line to it.

    drawn: lines from point to point that a name keeps off where that does not lead it far away.
    """
    figure: Any = axes.figure
    figure.draw_without_rendering()
    whole = _Box(*figure.bbox.extents)
    spots: list[Spot] = [tuple(axes.transData.transform((x, y))) for x, y, _ in points]
    taken: list[_Box] = []
    lines: list[Spot] = []
    dots = figure.dpi / 72
    passed = [_along([tuple(axes.transData.transform(point)) for point in line], dots) for line in drawn]
    for (x, y, name), spot, paint in zip(points, spots, paints, strict=True):
        size = _size(axes, name)
        tried = []
        for offset in _offsets():
            far = math.hypot(*offset) / _FAR
            if tried and min(tried)[0] <= far:
                break
            box = _box(spot, offset, size, dots)
            line = _line(spot, offset, dots)
            hidden = 9 * sum(box.overlaps(other) for other in taken) + 3 * sum(
                box.is_at(dot, _DOT * dots) for dot in spots
            )
            hidden += sum(map(box.holds, lines)) + sum(any(map(other.holds, line)) for other in taken)
            hidden += 99 * (not box.is_inside(whole)) + sum(map(box.is_crossed, passed))
            tried.append((hidden + far, len(tried), box, line, offset))
        _, _, box, line, offset = min(tried)
        taken.append(box)
        lines += line
        _write(axes, (x, y), name, offset, paint)


def _offsets() -> Iterator[Spot]:
    """Where a name may stand, the nearest first."""
    yield from _CLOSE
    for radius in _CIRCLES:
        for k in range(_DIRECTIONS):
            angle = 2 * math.pi * (k + 0.5) / _DIRECTIONS
            yield radius * math.cos(angle), radius * math.sin(angle)


def _along(corners: Sequence[Spot], step: float) -> np.ndarray:
    """Places on a line, [N, 2], no farther apart than the step."""
    parts = [np.asarray(corners[:1], float)]
    for one, other in pairwise(corners):
        count = max(1, math.ceil(math.dist(one, other) / step))
        parts.append(np.linspace(one, other, count + 1))
    return np.concatenate(parts)


def _hang(offset: Spot) -> tuple[str, str]:
    """How a name hangs at its end of the offset: away from the point."""
    x, y = offset
    return "center" if x == 0 else "left" if x > 0 else "right", "bottom" if y > 0 else "top"


def _box(spot: Spot, offset: Spot, size: Spot, dots: float) -> _Box:
    across, up = _hang(offset)
    width, height = size
    left = spot[0] + offset[0] * dots - {"left": 0, "center": width / 2, "right": width}[across]
    low = spot[1] + offset[1] * dots - {"bottom": 0, "top": height}[up]
    return _Box(left, low, left + width, low + height)


def _line(spot: Spot, offset: Spot, dots: float) -> list[Spot]:
    """Places on the line to a name; none to one that is close."""
    if offset in _CLOSE:
        return []
    return [(spot[0] + part * offset[0] * dots, spot[1] + part * offset[1] * dots) for part in _ALONG]


def _size(axes: "Axes", name: str) -> Spot:
    text = axes.text(0, 0, name, fontsize=_SIZE)
    figure: Any = axes.figure
    box = text.get_window_extent(figure.canvas.get_renderer())
    text.remove()
    return box.width, box.height


def _write(axes: "Axes", at: Spot, name: str, offset: Spot, paint: str) -> None:
    across, up = _hang(offset)
    line = {"arrowstyle": "-", "color": paint, "lw": 0.5, "alpha": 0.4, "shrinkA": 0, "shrinkB": 4}
    text = axes.annotate(
        name,
        at,
        offset,
        textcoords="offset points",
        ha=across,
        va=up,
        fontsize=_SIZE,
        color=paint,
        zorder=5,
        arrowprops=None if offset in _CLOSE else {**line, "relpos": _RELATIVE[across, up]},
    )
    text.set_in_layout(False)


# The corner of a name, as shares of its box, that lies at the point's end.
_RELATIVE = {
    (across, up): (x, y)
    for across, x in (("left", 0.0), ("center", 0.5), ("right", 1.0))
    for up, y in (("bottom", 0.0), ("top", 1.0))
}
