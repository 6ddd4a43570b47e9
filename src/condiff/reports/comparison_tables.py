"""The tables of a comparison page: settings with their metrics, and every run."""

from collections.abc import Mapping, Sequence
from typing import Any

from condiff.reports.comparison import Comparison, measured_key
from condiff.reports.redact import breakable, escaped
from condiff.reports.runs import SEED, Estimate, Run, Setting, estimate, set_by
from condiff.reports.tables import number
from condiff.reports.values import is_number, shown

LONG = 16  # rows from which a table scrolls by itself
MANY = 8  # columns from which it is set closer
KEY_LETTERS = 10


def settings_table(comparison: Comparison) -> str:
    """A row for each setting, the best value of each metric marked, what real data reaches below.

    What tells settings apart stands before the metrics, and what else differs behind them.
    """
    paths = [*comparison.settings[0].named_by] or ["setting"]
    heads = [head(path) for path in paths] + ([head("runs", "figure")] if comparison.has_seeds else [])
    heads += [head(f"{name} {comparison.arrow(name)}".strip(), "figure") for name in comparison.metrics]
    heads += [head(path) for path in _rest(comparison)]
    rows = [_setting(comparison, place, setting) for place, setting in enumerate(comparison.settings)]
    return sortable(heads, rows, _floors(comparison, len(paths))) + _caption(comparison)


def runs_table(comparison: Comparison) -> str:
    """Every run with its seed, numbers, folder and key."""
    heads = [head(name) for name in (*comparison.settings[0].named_by, SEED)]
    heads += [head(f"{name} {comparison.arrow(name)}".strip(), "figure") for name in comparison.metrics]
    heads += [head(name) for name in (*_rest(comparison), "run folder", "metrics key")]
    rows = [_run(comparison, place, run) for place, run in enumerate(comparison.runs)]
    return (
        f"<details><summary>Every run <span>{len(rows)}, with folder and key</span></summary>"
        f'<div class="inside">{sortable(heads, rows, "")}</div></details>'
    )


def sortable(heads: Sequence[str], rows: Sequence[str], foot: str) -> str:
    """A table that a click on a head sorts; a long one scrolls by itself."""
    long = " long" if len(rows) > LONG else ""
    many = " many" if len(heads) > MANY else ""
    body = "\n".join(rows)
    return (
        f'<div class="wide{long}"><table class="runs{many}">\n<thead><tr>{"".join(heads)}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>{foot}</table></div>"
    )


def head(name: str, classes: str = "") -> str:
    """The head of a column of it."""
    kind = f' class="{classes}"' if classes else ""
    return f'<th{kind} aria-sort="none" scope="col"><button type="button">{breakable(name)}</button></th>'


def _setting(comparison: Comparison, place: int, setting: Setting) -> str:
    cells = [value_cell(path, setting.values, setting.runs[0]) for path in setting.named_by]
    cells = cells or [cell("all runs", "all runs", "named")]
    if comparison.has_seeds:
        cells.append(cell(len(setting.runs), str(len(setting.runs)), "figure"))
    for metric in comparison.metrics:
        best = comparison.best[metric]
        state = "best" if place in best.places else "near" if place in best.near else ""
        cells.append(_measured(comparison.estimates[metric][place], state))
    cells += [value_cell(path, setting.values, setting.runs[0]) for path in _rest(comparison)]
    return f'<tr data-place="{place}">{"".join(cells)}</tr>'


def _run(comparison: Comparison, place: int, run: Run) -> str:
    values = {path: column[place] for path, column in comparison.table.items()} | {SEED: run.config.get(SEED)}
    said = {path: cell(value, escaped(shown(value)), "named") for path, value in values.items()}
    cells = [said[path] for path in (*comparison.settings[0].named_by, SEED)]
    cells += [_measured(estimate([run], metric), "") for metric in comparison.metrics]
    cells += [said[path] for path in _rest(comparison)]
    key = measured_key(run)
    cells += [
        cell(run.folder, escaped(run.folder), "path"),
        cell(key, f"<code>{escaped(key[:KEY_LETTERS])}</code>", ""),
    ]
    return f'<tr data-place="{comparison.place_of(run)}">{"".join(cells)}</tr>'


def _rest(comparison: Comparison) -> list[str]:
    """What differs beside what settings are named by."""
    return [path for path in comparison.table if path not in comparison.settings[0].named_by]


def value_cell(path: str, values: Mapping[str, Any], run: Run) -> str:
    """One of the values that differ; below the choice of a group what else it sets."""
    more, value = set_by(run, path, values) if "." not in path else "", values[path]
    below = f"<small>{escaped(more)}</small>" if more else ""
    return cell(value, f"{breakable(shown(value))}{below}", "named")


def _measured(found: Estimate | None, state: str) -> str:
    if found is None:
        return cell(None, "–", "figure")
    value, below = found.shown, ""
    if found.text != value:
        below = f"<small>{found.text.removeprefix(value).strip()}</small>"
    elif len(found.each) == 1 and found.low is not None and found.high is not None:
        below = f"<small>[{number(found.low)}, {number(found.high)}]</small>"
    said = {"best": ' title="the best"', "near": ' title="not told apart from the best"'}.get(state, "")
    return cell(found.value, f"<b{said}>{value}</b>{below}", f"figure {state}".strip())


def cell(value: Any, markup: str, classes: str) -> str:
    """A cell with what it is sorted by."""
    known = "" if value is None else repr(float(value)) if is_number(value) else str(value)
    kind = f' class="{classes}"' if classes else ""
    return f'<td{kind} data-value="{escaped(known)}">{markup}</td>'


def _floors(comparison: Comparison, before: int) -> str:
    floors = [comparison.floor(name) for name in comparison.metrics]
    if not any(floor is not None for floor in floors):
        return ""
    cells = "".join(f'<td class="figure">{"" if f is None else number(f)}</td>' for f in floors)
    span = before + comparison.has_seeds
    return f'<tfoot><tr><td colspan="{span}">held-out real pictures</td>{cells}</tr></tfoot>'


def _caption(comparison: Comparison) -> str:
    below = (
        "the standard deviation over runs that differ in their seed"
        if comparison.has_seeds
        else ("the 95 % interval")
    )
    marks = any(best.places for best in comparison.best.values())
    near = any(best.near for best in comparison.best.values())
    said = " ↑ more is better, ↓ less is." if marks else ""
    said += " Filled: the best of a column." if marks else ""
    said += " Dotted: not told apart from it." if near else ""
    named = [*(comparison.settings[0].named_by if comparison.settings else [])]
    if len(named) < len(comparison.table):
        said += f" Elsewhere a setting is named by {escaped(', '.join(named))} alone, which tells all apart."
    live = '<span class="hint"> A click on a head sorts; a row lights its points in the plots below.</span>'
    return f"<figcaption>Below each number {below}.{said}{live}</figcaption>"
