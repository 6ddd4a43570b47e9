"""The page of a study in ``experiments/``: a table over finished runs with seeds, and a curve."""

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from condiff.reports.curves import Curve, Series, fidelity_lines, svg
from condiff.reports.runs import FLOOR, Run, leaves, spread
from condiff.reports.values import in_order, shown


def refuse_mixture(runs: Sequence[Run], axis: str) -> None:
    """ValueError unless the runs differ in the axis and the seed only, and none is there twice."""
    if not runs:
        raise ValueError("there are no finished runs among the folders")
    rest = {flat_without(run.config, axis) for run in runs}
    if len(rest) > 1:
        one, other, *_ = (dict(pairs) for pairs in rest)
        differing = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
        raise ValueError(f"the runs differ in more than {axis} and seed: {', '.join(differing)}")
    places = [(run.setting(axis), run.setting("seed")) for run in runs]
    if len({*places}) < len(places):
        raise ValueError(f"two runs have the same {axis} and seed")


def flat_without(config: Mapping[str, Any], axis: str) -> tuple[tuple[str, str], ...]:
    """Every setting that changes a result, but for the axis and the seed."""
    # a guidance may bring stages of its own, so they are no difference beside it
    free = ("runtime", "logger", "seed", *(["stages"] if isinstance(config.get(axis), Mapping) else []))
    pairs = {key: part for key, part in config.items() if key not in free}
    return tuple(
        sorted(
            (path, repr(value)) for path, value in leaves(pairs, "") if not f"{path}.".startswith(f"{axis}.")
        )
    )


def results(runs: Sequence[Run], axis: str) -> str:
    """results.csv: a line a run and metric, with the key of the artifact that was measured."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([axis, "seed", "metric", "value", "low", "high", "n", "protocol", "metrics_key"])
    for run in _sorted(runs, axis):
        for name, metric in run.metrics.items():
            low, high = metric["interval"] or ("", "")
            row = [run.setting(axis), run.setting("seed"), name, metric["value"], low, high]
            writer.writerow([*row, metric["n"], metric["protocol"], run.stages["metrics"]["key"]])
    return text.getvalue()


def table(runs: Sequence[Run], axis: str) -> str:
    """A Markdown table: a row for each value of the axis, mean ± standard deviation over the seeds."""
    names = list(dict.fromkeys(name for run in runs for name in run.metrics))  # n may be part of a name
    lines = [f"| {axis} | seeds | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for value, group in _groups(runs, axis).items():
        values = [[run.metrics[name]["value"] for run in group if name in run.metrics] for name in names]
        cells = [spread(found) if found else "–" for found in values]
        lines.append(f"| {shown(value)} | {len(group)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def curve(runs: Sequence[Run], axis: str, metric: str) -> str:
    """The mean of a metric over the axis, as a standalone SVG on a white ground."""
    points = [
        (float(value), statistics.fmean(run.metrics[metric]["value"] for run in group))
        for value, group in _groups(runs, axis).items()
    ]
    lines = [Series(metric, points)]
    floor = f"{metric}{FLOOR}"
    if floor in runs[0].metrics:
        real = statistics.fmean(run.metrics[floor]["value"] for run in runs)
        lines.append(Series("held-out real pictures", [(x, real) for x, _ in points]))
    return _alone(Curve(f"{metric} over {axis}", "", lines, x_label=axis, y_label=metric))


def over_steps(rows: Iterable[Mapping[str, Any]], metric: str) -> str:
    """A fidelity while something trained, between its ceiling and its floor, as ``curve`` is drawn."""
    lines = fidelity_lines(rows, metric)
    return _alone(Curve(f"{metric} over steps", "", lines, y_label=metric))


def _alone(plot: Curve) -> str:
    paper = 'xmlns="http://www.w3.org/2000/svg" style="background:#fff;color:#222;font-family:sans-serif"'
    return svg(plot).replace("<svg ", f"<svg {paper} ", 1)


def _groups(runs: Sequence[Run], axis: str) -> dict[Any, list[Run]]:
    groups: dict[Any, list[Run]] = {}
    for run in _sorted(runs, axis):
        groups.setdefault(run.setting(axis), []).append(run)
    return groups


def _sorted(runs: Sequence[Run], axis: str) -> list[Run]:
    """By value and seed where the axis has numbers; choices stay in the order they were run in."""
    rank = in_order([run.setting(axis) for run in runs])
    return sorted(runs, key=lambda run: (rank.index(run.setting(axis)), run.setting("seed")))
