"""The plots of a comparison: each metric over what was swept, one metric against another, and the losses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from condiff.evaluation.parts import REAL
from condiff.reports.comparison import Comparison, evenly
from condiff.reports.comparison_axes import EACH, by_others, is_numeric, swept, together_with
from condiff.reports.curves import COLOURS, ENDS, Point
from condiff.reports.plots import (
    DASHES,
    SIZE,
    SOFT,
    Plot,
    cut,
    drawn,
    file_name,
    log_ticks,
    mark,
    words,
    wrapped,
)
from condiff.reports.runs import Estimate
from condiff.reports.tables import number
from condiff.reports.values import NULL, in_order, is_number, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES = 10  # in one plot
MOST_PLOTS = 36  # of metrics over settings
ROW, LINE, LEGEND = 0.24, 0.1, 0.15  # inches: of a category, of a line more of it, of a row of the legend
MOST_NAMED = 4  # settings that have no place on an axis
LABEL, LEGEND_LETTERS = 30, 40  # on a line of a category, and of the legend
LOG_FROM = 10.0  # largest / smallest value of a setting from which its axis is logarithmic


@dataclass(frozen=True)
class Place:
    """A setting on an axis, as a metric has it."""

    setting: int
    at: Any  # a number, or the category
    found: Estimate


Lines = Mapping[str, Sequence[Place]]


def metric_plots(comparison: Comparison) -> list[Plot]:
    """A plot for each axis and metric, as far as ``MOST_PLOTS`` reaches."""
    plots = []
    for axis in swept(comparison):
        for metric in (name for name in comparison.metrics if not is_level(comparison, name)):
            lines, left_out = lines_over(comparison, axis, metric)
            if len(plots) < MOST_PLOTS and any(lines.values()):
                plots.append(_metric_plot(comparison, axis, metric, lines, left_out))
    return plots


def lines_over(comparison: Comparison, axis: str, metric: str) -> tuple[Lines, int]:
    """The points of a metric by what else differs, and how many lines are left out."""
    estimates = comparison.estimates[metric]
    groups = by_others(comparison, axis)
    if is_numeric(comparison, axis):
        groups = {
            name: [place for place in own if is_number(_value(comparison, axis, place))]
            for name, own in groups.items()
        }
    lines = {
        name: [Place(k, _value(comparison, axis, k), found) for k in own if (found := estimates[k])]
        for name, own in groups.items()
    }
    lines = {name: own for name, own in lines.items() if own}
    kept = [[*lines][k] for k in evenly(len(lines), MOST_LINES)]
    return {name: lines[name] for name in kept}, len(lines) - len(kept)


def _value(comparison: Comparison, axis: str, place: int) -> Any:
    setting = comparison.settings[place]
    return setting.label if axis == EACH else setting.values[axis]


def _metric_plot(comparison: Comparison, axis: str, metric: str, lines: Lines, left_out: int) -> Plot:
    arrow = comparison.arrow(metric)
    title = f"{words(metric)} {arrow}".strip()
    labels = _labels(comparison, metric)
    parts = [f"{len(lines)} of {len(lines) + left_out} lines, evenly chosen."] if left_out else []
    if len(comparison.protocols(metric)) > 1:
        parts.append("Measured under several protocols: points of different ones do not compare.")
    beside = ", ".join(words(path) for path in together_with(comparison, axis))
    parts += [f"Changes with it: {beside}."] if beside else []
    numeric = is_numeric(comparison, axis)
    parts += [_off_axis(comparison, axis, metric)] if numeric else []
    present = {place.at for line in lines.values() for place in line}
    order = [setting.label for setting in comparison.settings] if axis == EACH else comparison.table[axis]
    categories = [value for value in in_order(order) if value in present]
    names = [wrapped(words(shown(value)), LABEL) for value in categories]
    tallest = max((name.count("\n") for name in names), default=0)
    rows = len(names) * max(ROW * (1 + len(lines) // 4), ROW + LINE * tallest)
    height = SIZE[1] if numeric else max(1.6, 0.9 + rows)
    height += legend_height([*lines, *_levels(comparison, metric)])
    draw = (
        partial(over_numbers, comparison, axis, metric, lines)
        if numeric
        else partial(_over_choices, comparison, dict(zip(categories, names, strict=True)), metric, lines)
    )
    name = file_name(metric, "over", axis)
    return drawn(
        name, f"{title} over {words(axis)}", " ".join(filter(None, parts)), draw, labels, (SIZE[0], height)
    )


def _off_axis(comparison: Comparison, axis: str, metric: str) -> str:
    """The settings that have no place among numbers, with what they have."""
    found = comparison.estimates[metric]
    parts = [
        f"{words(setting.label)}: {told(one)}"
        for setting, one in zip(comparison.settings, found, strict=True)
        if one is not None and setting.values[axis] == NULL
    ]
    more = f" and {len(parts) - MOST_NAMED} more" if len(parts) > MOST_NAMED else ""
    return f"Not on the axis: {'; '.join(parts[:MOST_NAMED])}{more}." if parts else ""


def _labels(comparison: Comparison, metric: str) -> dict[str, str]:
    found = comparison.estimates[metric]
    return {
        f"s{place}": f"{setting.full}: {metric} {told(one)}"
        for place, (setting, one) in enumerate(zip(comparison.settings, found, strict=True))
        if one is not None
    }


def told(one: Estimate) -> str:
    if len(one.each) == 1 and one.low is not None and one.high is not None:
        return f"{number(one.value)} [{number(one.low)}, {number(one.high)}]"
    return one.text


def over_numbers(comparison: Comparison, axis: str, metric: str, lines: Lines, axes: "Axes") -> None:
    """Lines over a numeric axis, ordered by it."""
    values = sorted({place.at for line in lines.values() for place in line})
    if values[0] > 0 and values[-1] / values[0] >= LOG_FROM:
        axes.set_xscale("log")
        log_ticks(axes.xaxis, values)
    elif len(values) <= 8:
        axes.set_xticks(values, [shown(value) for value in values])
        axes.set_xticks([], minor=True)
    for k, (name, line) in enumerate(lines.items()):
        colour, ordered = paint(k), sorted(line, key=lambda place: place.at)
        at, means = [place.at for place in ordered], [place.found.value for place in ordered]
        dashes = DASHES[k // len(COLOURS) % len(DASHES)]
        axes.plot(at, means, color=colour, lw=1.6, ls=dashes, label=wrapped(name, LEGEND_LETTERS), zorder=3)
        for place in ordered:
            _point(axes, (place.at, place.found.value), place, colour, across=False)
    _draw_levels(comparison, metric, axes.axhline)
    axes.set_xlabel(cut(words(axis), 60))
    axes.set_ylabel(words(f"{metric} {comparison.arrow(metric)}").strip())
    axes.margins(x=0.04, y=0.08)
    legend(axes)


def _over_choices(
    comparison: Comparison, categories: Mapping[Any, str], metric: str, lines: Lines, axes: "Axes"
) -> None:
    """A row for each choice, from the top; lines a little apart."""
    rows = {value: row for row, value in enumerate(categories)}
    step, shown_places = 0.6 / max(1, len(lines)), [place for line in lines.values() for place in line]
    for k, (name, line) in enumerate(lines.items()):
        colour, shift = paint(k), (k - (len(lines) - 1) / 2) * step
        axes.plot([], [], "o", ms=4.5, color=colour, label=wrapped(name, LEGEND_LETTERS))
        for place in line:
            _point(axes, (place.found.value, rows[place.at] + shift), place, colour, across=True)
    _draw_levels(comparison, metric, axes.axvline)
    ends = [end for place in shown_places for end in (place.found.value, *(place.found.ends or ()))]
    if comparison.arrow(metric) == "↓" and min(ends) > 0 and max(ends) / min(ends) >= LOG_FROM:
        axes.set_xscale("log")
        log_ticks(axes.xaxis, ends)
    axes.set_yticks(range(len(categories)), [*categories.values()])
    axes.set_ylim(len(categories) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.08)
    axes.set_xlabel(words(f"{metric} {comparison.arrow(metric)}").strip())
    legend(axes)


def _point(axes: "Axes", at: Point, place: Place, colour: str, across: bool) -> None:
    """A setting: its mean, a bar to both ends, and each run faintly where there are several."""
    name, found = f"s{place.setting}", place.found
    x, y = at
    if found.ends is not None:
        ends = [*found.ends]
        xs, ys = (ends, [y, y]) if across else ([x, x], ends)
        axes.plot(xs, ys, color=colour, lw=1.4, alpha=0.55, zorder=2, gid=mark(name, "bar"))
    if len(found.each) > 1:
        same = [y if across else x] * len(found.each)
        xs, ys = (found.each, same) if across else (same, found.each)
        axes.plot(xs, ys, "o", ms=2.6, mew=0, color=colour, alpha=0.5, zorder=2.5, gid=mark(name, "runs"))
    axes.plot([x], [y], "o", ms=5, mew=0, color=colour, zorder=4, gid=mark(name, "mean"))


def is_level(comparison: Comparison, metric: str) -> bool:
    """Whether it is the ceiling or the floor of a fidelity, and the same for all settings."""
    fidelity = next((metric.removesuffix(end) for end in ENDS if end and metric.endswith(end)), None)
    if fidelity not in comparison.metrics or f"{fidelity}{REAL}" not in comparison.metrics:
        return False
    return len({number(one.value) for one in comparison.estimates[metric] if one}) == 1


def _levels(comparison: Comparison, metric: str) -> dict[str, float]:
    """What real pictures reach, and those of others' hints, by the words of the legend."""
    floor = comparison.floor(metric)
    found = {} if floor is None else {"real pictures": floor}
    for end, name in ENDS.items():
        if end and is_level(comparison, f"{metric}{end}"):
            found[name] = next(one.value for one in comparison.estimates[f"{metric}{end}"] if one)
    return {f"{name} {number(value)}": value for name, value in found.items()}


def _draw_levels(comparison: Comparison, metric: str, line: Callable[..., Any]) -> None:
    for place, (name, value) in enumerate(_levels(comparison, metric).items()):
        line(value, color=SOFT, lw=1.1, ls=(0, ((5, 3), (1.5, 2))[place]), label=name, zorder=1)


def legend(axes: "Axes") -> None:
    handles, names = axes.get_legend_handles_labels()
    pairs = [(handle, name) for handle, name in zip(handles, names, strict=True) if name]
    if pairs:
        axes.figure.legend(  # pyright: ignore[reportAttributeAccessIssue]
            *zip(*pairs, strict=True),
            loc="outside upper left",
            ncols=_columns([name for _, name in pairs]),
            borderpad=0.1,
            columnspacing=1.2,
            handlelength=1.6,
        )


def legend_height(names: Sequence[str]) -> float:
    """What a legend of these takes in inches, beyond the first row."""
    named = [wrapped(name, LEGEND_LETTERS) for name in names if name]
    rows = sum(1 + name.count("\n") for name in named) / _columns(named)
    return LEGEND * max(0.0, rows - 1)


def _columns(names: Sequence[str]) -> int:
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    return 1 if longest > 22 else 2 if longest > 12 else 3


def paint(place: int) -> str:
    return COLOURS[place % len(COLOURS)]
