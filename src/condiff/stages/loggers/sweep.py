"""A finished sweep in wandb: its table, curves over what was varied, accuracy against distance."""

import logging
import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from condiff.reports.runs import SEED
from condiff.reports.values import NULL, is_number
from condiff.stages.loggers.directions import better
from condiff.stages.loggers.logger import Told
from condiff.stages.loggers.wandb_runs import Wandb

log = logging.getLogger(__name__)
FLOOR = "_floor"  # ends the name of what real data reaches, which no setting changes
LINE = "line"  # the column that tells the lines of a curve apart
Rows = Sequence[Mapping[str, Any]]


def log_sweep(
    settings: Mapping[str, Any], sweep_id: str, name: str, folder: Path, rows: Rows, axes: Sequence[str]
) -> None:
    """A run of job type "sweep" in the group of its jobs.

    ``settings`` are the config's ``logger``; a row holds the value of each axis and of each metric of a job.
    Whatever is wrong with wandb is told in a line.
    """
    if settings["wandb"] == "off" or not rows:
        return
    runs = Wandb({**settings, "group": settings["group"] or sweep_id, "required": False})
    try:
        runs.start(Told(f"{name} sweep", "sweep", folder, {"axes": list(axes)}, {"sweep": sweep_id}, None))
        runs.study.log(charts(rows, axes))
        runs.study.summary.update(best(rows, axes))
        runs.finish(0)
    except Exception as error:  # the sweep is finished: nothing can be lost by it
        log.warning("the sweep is not in wandb: %s", (str(error).splitlines() or [type(error).__name__])[0])


def charts(rows: Rows, axes: Sequence[str]) -> dict[str, Any]:
    """The table of all jobs; of means over seeds each metric over each axis, and gains against costs."""
    wandb, metrics = import_module("wandb"), metrics_of(rows, axes)
    found = {"sweep": _table(rows, [*axes, *metrics])}
    settings, others = over_seeds(rows, axes), [axis for axis in axes if axis != SEED]
    for axis, metric in product(varied(settings, others), metrics):
        found[f"{metric} over {axis}"] = _curve(settings, axis, metric, others)
    for gain, cost in trades(metrics):
        title = f"{cost} against {gain}"
        whole = [row for row in settings if _are_numbers(row, gain, cost)]
        columns = [gain, cost, *others]
        found[title] = wandb.plot.scatter(_table(whole, columns), gain, cost, title=title)
        found[f"{title}, front"] = wandb.plot.line(
            _table(front(whole, gain, cost), columns), gain, cost, title=f"{title}: what nothing else beats"
        )
    return found


def over_seeds(rows: Rows, axes: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each setting, its metrics the means over the seeds that have them."""
    others, metrics = [axis for axis in axes if axis != SEED], metrics_of(rows, axes)
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row.get(axis)) for axis in others), []).append(row)
    settings = []
    for own in groups.values():
        values = {name: [row[name] for row in own if _are_numbers(row, name)] for name in metrics}
        means = {name: fmean(found) for name, found in values.items() if found}
        settings.append({axis: own[0][axis] for axis in others if axis in own[0]} | means)
    return settings


def _curve(settings: Rows, axis: str, metric: str, axes: Sequence[str]) -> Any:
    """A line along the axis for each combination of the others; points where no two settings share one."""
    plot, title = import_module("wandb").plot, f"{metric} over {axis}"
    others = [other for other in axes if other != axis and len({str(row.get(other)) for row in settings}) > 1]
    whole = [
        {**row, LINE: ", ".join(f"{other}={row.get(other)}" for other in others)}
        for row in settings
        if _are_numbers(row, axis, metric)
    ]
    lines = [*dict.fromkeys(row[LINE] for row in whole)]
    whole.sort(key=lambda row: (lines.index(row[LINE]), row[axis]))
    table = _table(whole, [axis, metric, *([LINE] if others else []), *others])
    if len(whole) > 1 and len(lines) == len(whole):
        return plot.scatter(table, axis, metric, title=title)
    return plot.line(table, axis, metric, stroke=LINE if others else None, title=title)


def metrics_of(rows: Rows, axes: Sequence[str]) -> list[str]:
    """The columns that measure something, in their order."""
    names = dict.fromkeys(name for row in rows for name in row if name not in axes)
    beside = ("/", FLOOR)  # counts and ends of intervals; floors
    return [
        name
        for name in names
        if not any(part in name for part in beside) and any(_are_numbers(row, name) for row in rows)
    ]


def varied(rows: Rows, axes: Sequence[str]) -> list[str]:
    """The axes along which a number takes more than one value; a null beside them has no place on a curve."""
    values = {axis: {row.get(axis) for row in rows} - {None, NULL} for axis in axes}
    return [
        axis
        for axis, found in values.items()
        if len(found) > 1 and all(_are_numbers({axis: value}, axis) for value in found)
    ]


def trades(metrics: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of something that should be more and something that should be less."""
    gains = [name for name in metrics if better(name) == "max"]
    costs = [name for name in metrics if better(name) == "min"]
    return list(product(gains, costs))


def front(rows: Rows, gain: str, cost: str) -> list[Mapping[str, Any]]:
    """The rows that no other beats in one number without losing in the other (Pareto), by gain."""
    kept: list[Mapping[str, Any]] = []
    for row in sorted(rows, key=lambda row: (-row[gain], row[cost])):
        if not kept or row[cost] < kept[-1][cost]:
            kept.append(row)
    return kept[::-1]


def best(rows: Rows, axes: Sequence[str]) -> dict[str, Any]:
    """The best mean over seeds of each metric with a better way, and the setting that gave it."""
    found: dict[str, Any] = {}
    settings = over_seeds(rows, axes)
    for name in metrics_of(rows, axes):
        direction = better(name)
        if direction is not None:
            whole = [row for row in settings if _are_numbers(row, name)]
            row = (min if direction == "min" else max)(whole, key=lambda row: row[name])
            at = ", ".join(f"{axis}={row.get(axis)}" for axis in axes if axis != SEED)
            found |= {f"best/{name}": row[name], f"best/{name}/at": at}
    return found


def _table(rows: Rows, columns: Sequence[str]) -> Any:
    data = [[row.get(column) for column in columns] for row in rows]
    return import_module("wandb").Table(columns=list(columns), data=data, allow_mixed_types=True)


def _are_numbers(row: Mapping[str, Any], *names: str) -> bool:
    """Whether a row has a finite number for each of these: a curve has no place for others, a best no use."""
    values = [row.get(name) for name in names]
    return all(is_number(value) and math.isfinite(value) for value in values)
