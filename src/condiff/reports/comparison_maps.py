"""Heat maps of a comparison: a metric over two numbers that were varied with each other."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from condiff.reports.comparison import Comparison
from condiff.reports.comparison_axes import is_numeric, swept
from condiff.reports.comparison_plots import told
from condiff.reports.curves import COLOURS
from condiff.reports.plots import INK, Plot, drawn, file_name, mark, words
from condiff.reports.runs import Estimate
from condiff.reports.tables import number
from condiff.reports.values import is_number, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELL, AROUND = (0.62, 0.36), (1.1, 1.0)  # inches: a cell, and what stands around all of them
_DARKEST = 0.75  # share of the colour in the best cell, on which ink can still be read

Cells = Mapping[tuple[float, float], tuple[int, Estimate]]  # by both values: the place of the setting


def maps(comparison: Comparison) -> list[Plot]:
    """A map of each metric that is better one way, where all that was varied is two numbers."""
    axes = swept(comparison)
    if len(axes) != 2 or not all(is_numeric(comparison, axis) for axis in axes):
        return []
    across, up = axes
    found = [(metric, cells(comparison, metric, across, up)) for metric in comparison.metrics]
    return [
        _map(comparison, metric, across, up, own)
        for metric, own in found
        if own and comparison.arrow(metric) and len(comparison.protocols(metric)) == 1
    ]


def cells(comparison: Comparison, metric: str, across: str, up: str) -> Cells:
    """What each pair of values has; nothing where a pair was not run, or more differs than these two."""
    found: dict[tuple[float, float], tuple[int, Estimate]] = {}
    for place, one in enumerate(comparison.estimates[metric]):
        pair = tuple(comparison.settings[place].values[axis] for axis in (across, up))
        if one is None or pair in found or not all(map(is_number, pair)):
            return {}
        found[pair[0], pair[1]] = place, one
    sides = [{pair[k] for pair in found} for k in (0, 1)]
    return found if len(found) == len(sides[0]) * len(sides[1]) and min(map(len, sides)) > 1 else {}


def _map(comparison: Comparison, metric: str, across: str, up: str, found: Cells) -> Plot:
    columns, rows = ([*dict.fromkeys(sorted(pair[k] for pair in found))] for k in (0, 1))
    size = (AROUND[0] + CELL[0] * len(columns), AROUND[1] + CELL[1] * len(rows))
    labels = {
        f"s{place}": f"{comparison.settings[place].full}: {metric} {told(one)}"
        for place, one in found.values()
    }
    title = f"{words(metric)} {comparison.arrow(metric)} over {words(across)} and {words(up)}"
    draw = partial(_draw, comparison, metric, (across, up), (columns, rows), found)
    return drawn(file_name(metric, "over", across, "and", up), title, "Darker is better.", draw, labels, size)


def _draw(
    comparison: Comparison,
    metric: str,
    names: tuple[str, str],
    values: tuple[list[float], list[float]],
    found: Cells,
    axes: "Axes",
) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    means = [one.value for _, one in found.values()]
    low, high = min(means), max(means)
    columns, rows = values
    for (x, y), (place, one) in found.items():
        share = (one.value - low) / (high - low) if high > low else 0.5
        good = share if comparison.arrow(metric) == "↑" else 1 - share
        at = columns.index(x), rows.index(y)
        corner = (at[0] - 0.5, at[1] - 0.5)
        fill = Rectangle(corner, 1, 1, facecolor=COLOURS[0], alpha=_DARKEST * good, linewidth=0)
        fill.set_gid(mark(f"s{place}", "mean"))
        axes.add_patch(fill)
        axes.text(*at, number(one.value), ha="center", va="center", color=INK, fontsize=8)
    axes.set_xticks(range(len(columns)), [shown(value) for value in columns])
    axes.set_yticks(range(len(rows)), [shown(value) for value in rows])
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.grid(visible=False)
    axes.set_xlabel(words(names[0]))
    axes.set_ylabel(words(names[1]))
