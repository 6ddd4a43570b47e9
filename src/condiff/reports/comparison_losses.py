"""The losses of the trainings behind compared runs; one that several runs share is drawn once."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from condiff.reports.comparison import Comparison, Losses, evenly
from condiff.reports.comparison_plots import LEGEND_LETTERS, MOST_LINES, legend, legend_height, paint
from condiff.reports.curves import COLOURS, LOG_FROM, Point, series_of, smooth, thin
from condiff.reports.plots import DASHES, SIZE, Plot, drawn, file_name, log_ticks, words, wrapped
from condiff.reports.runs import SEED, Run
from condiff.reports.values import said

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def loss_plots(comparison: Comparison) -> list[Plot]:
    """A plot for each stage that was trained, a line for each training of it."""
    stages: dict[str, list[Losses]] = {}
    for one in comparison.losses:
        stages.setdefault(one.stage, []).append(one)
    return [plot for stage, own in stages.items() if (plot := _loss_plot(comparison, stage, own))]


def told_apart(comparison: Comparison, runs: Sequence[Run], others: Sequence[Run]) -> str:
    """What these runs have in common and others have not, such as ``seed 1``."""
    columns = {**comparison.table, SEED: [run.config.get(SEED) for run in comparison.runs]}
    inside = {id(run) for run in runs}
    beside = {id(run) for run in others}
    parts = []
    for path, column in columns.items():
        own = {value for run, value in zip(comparison.runs, column, strict=True) if id(run) in inside}
        rest = {value for run, value in zip(comparison.runs, column, strict=True) if id(run) in beside}
        if len(own) == 1 and len(own | rest) > 1:
            parts.append(said(path, own.pop(), columns))
    return ", ".join(parts) or f"{len(runs)} runs"


def _loss_plot(comparison: Comparison, stage: str, trainings: Sequence[Losses]) -> Plot | None:
    chosen = [trainings[k] for k in evenly(len(trainings), MOST_LINES)]
    lines: dict[str, Sequence[Point]] = {}
    for one in chosen:
        others = [run for other in trainings if other is not one for run in other.runs]
        lines |= _lines(one, "" if len(trainings) == 1 else told_apart(comparison, one.runs, others))
    if not lines:
        return None
    draw, height = partial(_draw, lines), SIZE[1] + legend_height(list(lines) if len(lines) > 1 else [])
    return drawn(
        file_name("loss", stage),
        words(stage),
        _caption(len(chosen), len(trainings)),
        draw,
        {},
        (SIZE[0], height),
    )


def _lines(training: Losses, name: str) -> dict[str, Sequence[Point]]:
    """Every loss of a training that stands alone, the first one of a training with a name."""
    columns = dict.fromkeys(column for row in training.rows for column in row if "loss" in column)
    found = {column: series_of(training.rows, column).points for column in columns}
    kept = {column: points for column, points in found.items() if points}
    return kept if not name else dict(zip([name], kept.values(), strict=False))


def _caption(drawn: int, trainings: int) -> str:
    if trainings == 1:
        which = "One training, shared by all runs that have it."
    else:
        which = f"{drawn} of {trainings} trainings." if drawn < trainings else f"{trainings} trainings."
    return f"{which} Faint: as logged; bold: smoothed."


def _draw(lines: Mapping[str, Sequence[Point]], axes: "Axes") -> None:
    values = [y for points in lines.values() for _, y in points]
    if min(values) > 0 and max(values) / min(values) >= LOG_FROM:
        axes.set_yscale("log")
        log_ticks(axes.yaxis, values)
    for k, (name, points) in enumerate(lines.items()):
        colour, dashes = paint(k), DASHES[k // len(COLOURS) % len(DASHES)]
        bold = smooth(points, len(points) // 40)
        axes.plot(*zip(*thin(points), strict=True), color=colour, lw=0.8, alpha=0.3)
        axes.plot(
            *zip(*thin(bold), strict=True),
            color=colour,
            lw=1.6,
            ls=dashes,
            marker="o" if len(points) == 1 else "",
            ms=4,
            label=wrapped(words(name), LEGEND_LETTERS),
        )
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.margins(x=0.02)
    if len(lines) > 1:
        legend(axes)
