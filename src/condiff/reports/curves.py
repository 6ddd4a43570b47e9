"""Curves over training steps as inline SVG; colours follow the page, so light and dark both read well."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from condiff.evaluation.parts import REAL, SHUFFLED
from condiff.reports.axes import Axis, linear_axis, log_axis, short
from condiff.reports.redact import escaped

WIDTH, HEIGHT = 480, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 14, 42  # the margins around the plot; more on the left for long numbers
ROW = 20  # of the legend
MOST_POINTS = 400  # a plot this wide shows no more
LETTER = 7  # about the width of one
NAME = 26  # pixels that the name of the upright axis takes, with room
LOG_FROM = 30.0  # largest / smallest value from which a log axis shows more
COLOURS = ("#3b6fd4", "#c2570c", "#0f8a6d", "#a63d8f", "#8a6d00", "#5b6670")  # where no page sets --series-N
BY_NOISE = "loss_noise_"
ENDS = {"": "", REAL: "real pictures", SHUFFLED: "hints of others"}  # of a fidelity's names
NOISE = "Mean loss by how much noise the samples had, from 0 % (data) to 100 %."

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One line: its finite points in the order of x."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Curve:
    """One plot."""

    title: str
    caption: str
    series: Sequence[Series]
    x_label: str = "step"
    y_label: str = "loss"
    log: bool = False  # the y axis


def loss_curves(rows: Iterable[Mapping[str, Any]]) -> list[Curve]:
    """A plot for each stage in the rows of log.jsonl, a line for each of its numbers named ``*loss*``.

    The losses by noise level, ``loss_noise_LOW_HIGH`` in percent, are a plot of their own.
    """
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        stages.setdefault(str(row.get("stage", "training")), []).append(row)
    plots = []
    for stage, own in stages.items():
        names = dict.fromkeys(name for row in own for name in row if "loss" in name)
        lines = [line for name in names if (line := series_of(own, name)).points]
        for title, caption, some in (
            (stage, "", [line for line in lines if not line.name.startswith(BY_NOISE)]),
            (f"{stage} by noise", NOISE, [_level(line) for line in lines if line.name.startswith(BY_NOISE)]),
        ):
            if some:
                what = some[0].name if len(some) == 1 else "loss"
                plots.append(Curve(title, caption, some, y_label=what, log=spans_decades(some)))
    return plots


def _level(line: Series) -> Series:
    """A loss at some noise, called by its level."""
    low, high = line.name.removeprefix(BY_NOISE).split("_")
    return Series(f"{int(low)} to {high} % noise", line.points)


def series_of(rows: Iterable[Mapping[str, Any]], name: str, x: str = "step") -> Series:
    """The finite values of one column; of a step logged twice the later row counts."""
    found = {
        float(row[x]): float(row[name])
        for row in rows
        if _is_number(row.get(x)) and _is_number(row.get(name))
    }
    return Series(name, sorted(found.items()))


def fidelity_lines(rows: Iterable[Mapping[str, Any]], metric: str) -> list[Series]:
    """A metric over steps, between its ceiling and its floor where it is a fidelity."""
    rows = [*rows]
    found = {name or metric: series_of(rows, f"{metric}{end}").points for end, name in ENDS.items()}
    return [Series(name, points) for name, points in found.items() if points]


def spans_decades(lines: Sequence[Series]) -> bool:
    """Whether the values are positive and so far apart that a log axis shows them better."""
    values = [y for line in lines for _, y in line.points]
    return bool(values) and min(values) > 0 and max(values) / min(values) >= LOG_FROM


def smooth(points: Sequence[Point], radius: int) -> list[Point]:
    """Each value as the mean of those up to ``radius`` places around it.

    Before the middle of the window fits, the window shrinks on both sides alike, so that the steep
    start of a loss is not drawn late; at the end it is cut, so that the last value stays calm.
    """
    sums = [0.0, *itertools.accumulate(y for _, y in points)]
    smoothed = []
    for k, (x, _) in enumerate(points):
        low, high = k - min(radius, k), min(k + min(radius, k) + 1, len(points))
        smoothed.append((x, (sums[high] - sums[low]) / (high - low)))
    return smoothed


def thin(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most ``most`` points (two or more) that keep the lowest and highest value of each stretch."""
    if len(points) <= most:
        return list(points)
    stretches = most // 2
    kept: list[Point] = []
    for k in range(stretches):
        part = points[k * len(points) // stretches : (k + 1) * len(points) // stretches]
        kept += sorted({min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])})
    return kept


def svg(curve: Curve) -> str:
    """The plot: raw values faint, smoothed ones bold, the names above where there is more than one line."""
    lines = [Series(line.name, _drawable(line.points, curve.log)) for line in curve.series]
    left, across, up = _axes(lines, curve.log)
    legend, room = _legend(lines) if len(lines) > 1 else ([], 0)
    name = escaped(f"{curve.title}: {curve.y_label} by {curve.x_label}")
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + room}" role="img" aria-label="{name}" '
        'font-size="12" fill="currentColor">',
        *legend,
        f'<g transform="translate(0 {room})">',
        *_frame(curve, across, up, left),
        *(part for place, line in enumerate(lines) for part in _drawn(place, line, across, up)),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _drawable(points: Sequence[Point], log: bool) -> list[Point]:
    return [point for point in points if point[1] > 0 or not log]


def _axes(lines: Sequence[Series], log: bool) -> tuple[float, Axis, Axis]:
    """Where the plot begins on the left, beyond its longest number, and both axes."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    make = log_axis if log and ys else linear_axis
    up = make(ys, HEIGHT - BOTTOM, TOP)
    left = max(LEFT, NAME + 8 + LETTER * max(len(short(tick)) for tick in up.ticks))
    return left, linear_axis(xs, left, WIDTH - RIGHT, tight=True), up


def _frame(curve: Curve, across: Axis, up: Axis, left: float) -> list[str]:
    """Grid lines, ticks and the names of both axes."""
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    centre, middle = (left + right) / 2, (TOP + floor) / 2
    parts = [f'<path d="M{left} {floor}H{right}" stroke="currentColor" opacity=".5"/>']
    for y in up.ticks:
        parts.append(f'<path d="M{left} {up.at(y):.1f}H{right}" stroke="currentColor" opacity=".14"/>')
        parts.append(_words(left - 8, up.at(y) + 4, short(y), 'text-anchor="end" opacity=".75"'))
    for x in across.ticks:
        parts.append(_words(across.at(x), floor + 17, short(x), 'text-anchor="middle" opacity=".75"'))
    turned = f'text-anchor="middle" transform="rotate(-90 14 {middle:.1f})"'
    parts.append(_words(centre, HEIGHT - 6, curve.x_label, 'text-anchor="middle"'))
    parts.append(_words(14, middle, curve.y_label + (" (log)" if curve.log else ""), turned))
    return parts


def _words(x: float, y: float, words: str, how: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {how}>{escaped(words)}</text>'


def _drawn(place: int, line: Series, across: Axis, up: Axis) -> list[str]:
    """One series; with few points it is drawn as it is, with a dot each."""
    paint = colour_of(place)
    if len(line.points) < 20:
        dots = [
            f'<circle cx="{across.at(x):.1f}" cy="{up.at(y):.1f}" r="2.5" style="fill:{paint}"/>'
            for x, y in line.points
        ]
        return [_path(line.points, across, up, paint, "1.8", "1"), *dots]
    bold = smooth(line.points, len(line.points) // 40)
    return [
        _path(thin(line.points), across, up, paint, "1", ".28"),
        _path(thin(bold), across, up, paint, "2.2", "1"),
    ]


def colour_of(place: int) -> str:
    """The CSS colour of a series: the page's, or one of its own where there is no page."""
    place %= len(COLOURS)
    return f"var(--series-{place}, {COLOURS[place]})"


def _path(points: Sequence[Point], across: Axis, up: Axis, paint: str, width: str, opacity: str) -> str:
    corners = "L".join(f"{across.at(x):.1f} {up.at(y):.1f}" for x, y in points)
    return (
        f'<path d="M{corners}" stroke-width="{width}" stroke-linejoin="round" stroke-linecap="round" '
        f'opacity="{opacity}" style="fill:none;stroke:{paint}"/>'
        if corners
        else ""
    )


def _legend(lines: Sequence[Series]) -> tuple[list[str], int]:
    """The names of the series in as many rows as they need, and the height of those."""
    parts, left, base = [], LEFT, ROW - 4
    for place, line in enumerate(lines):
        width = 40 + LETTER * len(line.name)
        if left > LEFT and left + width > WIDTH:
            left, base = LEFT, base + ROW
        parts.append(
            f'<path d="M{left:.0f} {base - 4}h16" stroke-width="3" style="stroke:{colour_of(place)}"/>'
        )
        parts.append(_words(left + 22, base, line.name))
        left += width
    return parts, base + 4
