"""One metric against another: which settings no other beats in both."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from condiff.reports.comparison import Comparison, evenly, has_word
from condiff.reports.comparison_axes import by_others, is_numeric, swept
from condiff.reports.comparison_plots import LEGEND_LETTERS, LOG_FROM, MOST_LINES, legend, paint, told
from condiff.reports.curves import Point
from condiff.reports.labelling import label
from condiff.reports.plots import INK, PAPER, Plot, drawn, file_name, log_ticks, mark, words, wrapped
from condiff.reports.runs import Estimate
from condiff.reports.values import said

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LABELLED = 10  # points with their name beside them; of more, those of the front
_QUALITIES = ("accuracy", "recall", "is")
SIZE = (7.6, 5.4)


@dataclass(frozen=True)
class TradeOff:
    """A distance and what speaks for samples, of each setting that has both."""

    distance: str
    quality: str
    found: Mapping[int, tuple[Estimate, Estimate]]  # by the place of the setting

    @cached_property
    def front(self) -> list[int]:
        """The settings that no other passes in both."""
        places = [*self.found]
        return [places[k] for k in front([(x.value, y.value) for x, y in self.found.values()])]


def choice(comparison: Comparison, one: TradeOff) -> list[int]:
    """Those of the front that buy something: none that loses for certain what it may not even gain."""
    return [place for place in one.front if not any(_costs(comparison, one, place, k) for k in one.front)]


def trade_offs(comparison: Comparison) -> list[TradeOff]:
    """The first distance against everything that speaks for samples, where both were measured alike."""
    named = [name for name in comparison.metrics if len(comparison.protocols(name)) == 1]
    distances = [name for name in named if comparison.is_distance(name)]
    qualities = [name for name in named if has_word(name, _QUALITIES) and comparison.arrow(name) == "↑"]
    found = [_trade_off(comparison, distances[0], quality) for quality in qualities] if distances else []
    return [one for one in found if len(one.found) > 1]


def front(points: Sequence[Point]) -> list[int]:
    """The places of the points that no other is at least as good as: x is to be small, y large; by x."""
    order = sorted(range(len(points)), key=lambda k: (points[k][0], -points[k][1]))
    kept: list[int] = []
    for k in order:
        if not kept or points[k][1] > points[kept[-1]][1] or points[k] == points[kept[-1]]:
            kept.append(k)
    return kept


def trade_off_plots(comparison: Comparison) -> list[Plot]:
    """A plot of each trade-off: settings as points, with the front that no other passes."""
    return [_plot(comparison, one) for one in trade_offs(comparison)]


def _costs(comparison: Comparison, one: TradeOff, place: int, other: int) -> bool:
    """Whether in one metric the other is better beyond doubt, and in the other cannot be told apart."""
    if place == other:
        return False
    (x, y), (u, v) = one.found[place], one.found[other]
    alike = [comparison.is_alike(metric, place, other) for metric in (one.distance, one.quality)]
    better = [u.value < x.value and not alike[0], v.value > y.value and not alike[1]]
    worse = [u.value > x.value and not alike[0], v.value < y.value and not alike[1]]
    return any(better) and not any(worse)


def _trade_off(comparison: Comparison, distance: str, quality: str) -> TradeOff:
    pairs = zip(comparison.estimates[distance], comparison.estimates[quality], strict=True)
    found = {place: (x, y) for place, (x, y) in enumerate(pairs) if x is not None and y is not None}
    return TradeOff(distance, quality, found)


def _plot(comparison: Comparison, one: TradeOff) -> Plot:
    labels = {
        f"s{place}": f"{comparison.settings[place].full}: {one.distance} {told(x)}, {one.quality} {told(y)}"
        for place, (x, y) in one.found.items()
    }
    caption = (
        "Up and left is better. Filled, on the band: the front, which no other setting passes in both. "
        f"Hollow: passed by one of the front. {_bars(comparison)}"
    )
    title = f"{words(one.quality)} ↑ against {words(one.distance)} ↓"
    name = file_name(one.quality, "against", one.distance)
    return drawn(name, title, caption, partial(draw, comparison, one), labels, SIZE)


def draw(comparison: Comparison, one: TradeOff, axes: "Axes") -> None:
    """The front behind, the settings before it, those of one line in one colour."""
    found, kept = one.found, one.front
    xs, ys = ([found[place][k].value for place in kept] for k in (0, 1))
    axes.step(xs, ys, where="post", color=INK, alpha=0.13, lw=7, zorder=1, label="front")
    axis = next((axis for axis in swept(comparison) if is_numeric(comparison, axis)), None)
    lines = _lines(comparison, axis, found)
    for k, (name, line) in enumerate(lines.items()):
        if axis is not None and len(line) > 1:
            points = [(found[place][0].value, found[place][1].value) for place in line]
            axes.plot(
                *zip(*points, strict=True),
                color=paint(k),
                lw=1,
                alpha=0.6,
                zorder=2,
                label=wrapped(name, LEGEND_LETTERS),
            )
        for place in line:
            _point(axes, place, found[place], paint(k), place in kept)
    axes.margins(0.08)
    distances = [x.value for x, _ in found.values()]
    if min(distances) > 0 and max(distances) / min(distances) >= LOG_FROM:
        axes.set_xscale("log")
        log_ticks(axes.xaxis, distances)
    axes.set_xlabel(words(f"{one.distance} ↓"))
    axes.set_ylabel(words(f"{one.quality} ↑"))
    legend(axes)
    _label(comparison, one, axes, lines if axis is not None else {}, axis)


def _label(
    comparison: Comparison,
    one: TradeOff,
    axes: "Axes",
    lines: Mapping[str, Sequence[int]],
    axis: str | None,
) -> None:
    """Names off the points, lines and bars; on lines their values alone, in the colours of the legend."""
    found, kept = one.found, one.front
    named = [*kept, *(place for place in found if place not in kept)]
    named = named if len(named) <= MOST_LABELLED else [kept[k] for k in evenly(len(kept), MOST_LABELLED)]
    of_line = {place: k for k, line in enumerate(lines.values()) for place in line} if len(lines) > 1 else {}
    points, paints = [], []
    for place in named:
        setting = comparison.settings[place]
        name = said(axis, setting.values[axis]) if axis and place in of_line else setting.label
        points.append((found[place][0].value, found[place][1].value, wrapped(words(name), 28)))
        paints.append(paint(of_line[place]) if place in of_line else INK)
    spots = {place: (x.value, y.value) for place, (x, y) in found.items()}
    corners = [((x, y), (u, y)) for (x, y), (u, _) in pairwise(spots[place] for place in kept)]
    drawn = [[*(corner for pair in corners for corner in pair), spots[kept[-1]]]]
    drawn += [[spots[place] for place in line] for line in lines.values() if len(line) > 1]
    for place, (x, y) in found.items():
        drawn += [[(end, spots[place][1]) for end in x.ends]] if x.ends else []
        drawn += [[(spots[place][0], end) for end in y.ends]] if y.ends else []
    label(axes, points, paints, drawn)


def _lines(comparison: Comparison, axis: str | None, found: Collection[int]) -> dict[str, list[int]]:
    """The settings along a numeric axis by what else differs; without one, or with too many, all in one."""
    groups = {"": [*found]} if axis is None else by_others(comparison, axis)
    lines = {name: [place for place in own if place in found] for name, own in groups.items()}
    lines = {name: line for name, line in lines.items() if line}
    return lines if len(lines) <= MOST_LINES else {"": [*found]}


def _point(axes: "Axes", place: int, at: tuple[Estimate, Estimate], colour: str, is_kept: bool) -> None:
    name, (x, y) = f"s{place}", at
    bars = ((x.ends, (y.value, y.value)), ((x.value, x.value), y.ends))
    for k, ends in enumerate(bars):
        if None not in ends:
            bar: Any = ends
            axes.plot(*bar, color=colour, lw=1, alpha=0.3, zorder=2, gid=mark(name, f"bar{k}"))
    fill = colour if is_kept else PAPER
    spot: Any = ([x.value], [y.value])
    axes.plot(*spot, "o", ms=6, mec=colour, mfc=fill, mew=1.3, zorder=4, gid=mark(name, "mean"))


def _bars(comparison: Comparison) -> str:
    if comparison.has_seeds:
        return "Bars: from the lowest to the highest of the runs that differ in their seed."
    return "Bars: 95 % intervals, where there are any."
