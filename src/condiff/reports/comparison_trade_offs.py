"""One metric against another: which settings no other beats in both."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from condiff.reports.comparison import Comparison, evenly
from condiff.reports.comparison_plots import MOST_LINES, by_others, is_numeric, legend, paint, swept, told
from condiff.reports.curves import Point
from condiff.reports.labelling import label
from condiff.reports.plots import INK, PAPER, RULE, Plot, cut, drawn, file_name, mark, words
from condiff.reports.runs import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LABELLED = 14  # points with their name beside them; of more, those of the front
_DISTANCES = ("fd", "fid", "sfid")
_QUALITIES = ("accuracy", "recall", "is")
SIZE = (6.4, 4.2)


def trade_offs(comparison: Comparison) -> list[Plot]:
    """A distance against what speaks for samples, settings as points, with the front that no other passes."""
    named = [name for name in comparison.metrics if len(comparison.protocols(name)) == 1]
    distances = [name for name in named if _is_one(name, _DISTANCES) and comparison.arrow(name) == "↓"]
    qualities = [name for name in named if _is_one(name, _QUALITIES) and comparison.arrow(name) == "↑"]
    plots = [_trade_off(comparison, distances[0], quality) for quality in qualities] if distances else []
    return [plot for plot in plots if plot is not None]


def front(points: Sequence[Point]) -> list[int]:
    """The places of the points that no other is at least as good as: x is to be small, y large; by x."""
    order = sorted(range(len(points)), key=lambda k: (points[k][0], -points[k][1]))
    kept: list[int] = []
    for k in order:
        if not kept or points[k][1] > points[kept[-1]][1] or points[k] == points[kept[-1]]:
            kept.append(k)
    return kept


def _trade_off(comparison: Comparison, distance: str, quality: str) -> Plot | None:
    pairs = zip(comparison.estimates(distance), comparison.estimates(quality), strict=True)
    found = {place: (x, y) for place, (x, y) in enumerate(pairs) if x is not None and y is not None}
    if len(found) < 2:
        return None
    places = [*found]
    kept = [places[k] for k in front([(x.value, y.value) for x, y in found.values()])]
    labels = {
        f"s{place}": f"{comparison.settings[place].label}: {distance} {told(x)}, {quality} {told(y)}"
        for place, (x, y) in found.items()
    }
    caption = (
        "Up and left is better. Filled: on the front, which no other setting passes in both; "
        f"the others are passed by one of these. {_bars(comparison)}"
    )
    draw = partial(_draw, comparison, found, kept, (distance, quality))
    title = f"{words(quality)} ↑ against {words(distance)} ↓"
    return drawn(file_name(quality, "against", distance), title, caption, draw, labels, SIZE)


def _draw(
    comparison: Comparison,
    found: Mapping[int, tuple[Estimate, Estimate]],
    kept: Sequence[int],
    names: tuple[str, str],
    axes: "Axes",
) -> None:
    """The front behind, the settings before it, those of one line in one colour."""
    xs, ys = ([found[place][k].value for place in kept] for k in (0, 1))
    axes.step(xs, ys, where="post", color=RULE, lw=7, zorder=1, label="front")
    lines = _lines(comparison, found)
    for k, (name, line) in enumerate(lines.items()):
        if len(line) > 1 and len(lines) < len(found):
            points = [(found[place][0].value, found[place][1].value) for place in line]
            axes.plot(*zip(*points, strict=True), color=paint(k), lw=1, alpha=0.6, zorder=2, label=cut(name))
        for place in line:
            _point(axes, place, found[place], paint(k), place in kept)
    axes.margins(0.08)
    axes.set_xlabel(words(f"{names[0]} ↓"))
    axes.set_ylabel(words(f"{names[1]} ↑"))
    legend(axes, len(lines))
    named = [*kept, *(place for place in found if place not in kept)]
    named = named if len(named) <= MOST_LABELLED else [kept[k] for k in evenly(len(kept), MOST_LABELLED)]
    spots = [(found[place][0].value, found[place][1].value, place) for place in named]
    label(axes, [(x, y, cut(words(comparison.settings[place].label), 30)) for x, y, place in spots], INK)


def _lines(comparison: Comparison, found: Collection[int]) -> dict[str, list[int]]:
    """The settings along the first numeric axis, by what else differs; without one, all of them each alone."""
    axis = next((axis for axis in swept(comparison) if is_numeric(comparison, axis)), None)
    groups = {"": [*found]} if axis is None else by_others(comparison, axis)
    lines = {name: [place for place in own if place in found] for name, own in groups.items()}
    if axis is None or len(lines) > MOST_LINES:
        return {"": [*found]}
    return {name: line for name, line in lines.items() if line}


def _point(axes: "Axes", place: int, at: tuple[Estimate, Estimate], colour: str, is_kept: bool) -> None:
    name, (x, y) = f"s{place}", at
    bars = ((x.low, x.high, y.value, y.value), (x.value, x.value, y.low, y.high))
    for k, (left, right, low, high) in enumerate(bars):
        if None not in (left, right, low, high):
            ends: Any = ([left, right], [low, high])
            axes.plot(*ends, color=colour, lw=1, alpha=0.3, zorder=2, gid=mark(name, f"bar{k}"))
    fill = colour if is_kept else PAPER
    spot: Any = ([x.value], [y.value])
    axes.plot(*spot, "o", ms=6, mec=colour, mfc=fill, mew=1.3, zorder=4, gid=mark(name, "mean"))


def _bars(comparison: Comparison) -> str:
    if comparison.has_seeds:
        return "Bars: the standard deviation over runs that differ in their seed."
    return "Bars: 95 % intervals, where there are any."


def _is_one(name: str, words_of: Sequence[str]) -> bool:
    return bool({*name.split("_")} & {*words_of}) and "std" not in name.split("_")
