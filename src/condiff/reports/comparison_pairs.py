"""The section of a comparison page that judges runs in pairs, sample by sample."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from condiff.reports.comparison import Comparison, Pairs
from condiff.reports.comparison_tables import cell, head, sortable, value_cell
from condiff.reports.html import caption
from condiff.reports.paired import Difference
from condiff.reports.redact import escaped
from condiff.reports.runs import SEED, Run, said, shown

MOST_NAMED = 3  # runs that are not compared


def pairs(comparison: Comparison) -> list[str]:
    """The table, what it is relative to, and who is left out; nothing where no run has values per sample."""
    parts = []
    if comparison.pairs:
        columns = _Columns.of(comparison)
        parts = [_lead(comparison), _table(comparison, columns), caption(_caption(bool(columns.hits)))]
    if comparison.alone:
        parts.append(f'<p class="told">{escaped(_alone(comparison))}</p>')
    return parts


def _lead(comparison: Comparison) -> str:
    """Which run the others are compared with, and by what rule."""
    places = [comparison.place_of(group.reference) for group in comparison.pairs]
    if len({*places}) > 1:
        which = "the first setting among the runs that share its samples, named in each row"
    else:
        own = " of the same seed" if len(places) > 1 else ""
        which = f"<b>{escaped(comparison.settings[places[0]].label)}</b>{own}, the first setting"
    return f'<p class="sum">Each run less the reference on the same samples. The reference is {which}.</p>'


@dataclass(frozen=True)
class _Columns:
    """What the table has a column for."""

    metrics: Sequence[str]  # that some pair has
    hits: frozenset[str]  # those of them that count hits
    has_seeds: bool
    has_references: bool

    @classmethod
    def of(cls, comparison: Comparison) -> "_Columns":
        found = [one for group in comparison.pairs for _, own in group.rows for one in own.items()]
        there = {name for name, _ in found}
        references = [group.reference for group in comparison.pairs]
        return cls(
            [name for name in comparison.metrics if name in there],
            frozenset(name for name, one in found if one.discordant is not None),
            len({str(run.config.get(SEED)) for run in references}) > 1,
            len({comparison.place_of(run) for run in references}) > 1,
        )


def _table(comparison: Comparison, columns: _Columns) -> str:
    heads = [head(name) for name in (comparison.settings[0].named_by or ["setting"])]
    heads += [head(SEED)] if columns.has_seeds else []
    heads += [head("reference")] if columns.has_references else []
    for metric in columns.metrics:
        heads.append(head(f"{metric} {comparison.arrow(metric)}".strip(), "figure"))
        heads += [head("samples that differ", "figure")] if metric in columns.hits else []
    heads.append(head("n", "figure"))
    rows = [
        (comparison.place_of(run), group, run, found)
        for group in comparison.pairs
        for run, found in group.rows
    ]
    rows.sort(key=lambda row: row[0])
    return sortable(heads, [_row(comparison, columns, *row) for row in rows], "")


def _row(
    comparison: Comparison,
    columns: _Columns,
    place: int,
    group: Pairs,
    run: Run,
    found: Mapping[str, Difference],
) -> str:
    setting = comparison.settings[place]
    cells = [value_cell(path, setting.values, run) for path in setting.named_by]
    cells = cells or [cell("all runs", "all runs", "named")]
    if columns.has_seeds:
        seed = run.config.get(SEED)
        cells.append(cell(seed, escaped(shown(seed)), "named"))
    if columns.has_references:
        label = comparison.settings[comparison.place_of(group.reference)].label
        cells.append(cell(label, escaped(label), "named"))
    for metric in columns.metrics:
        one = found.get(metric)
        cells.append(_difference(one, comparison.directions.get(metric)))
        cells += [_discordant(one)] if metric in columns.hits else []
    cells.append(cell(group.n, str(group.n), "figure"))
    return f'<tr data-place="{place}">{"".join(cells)}</tr>'


def _difference(one: Difference | None, more_is_better: bool | None) -> str:
    if one is None:
        return cell(None, "–", "figure")
    half = (one.high - one.low) / 2
    digits = max(0, 1 - math.floor(math.log10(half))) if half > 0 else 3
    value, low, high = (signed(part, digits) for part in (one.value, one.low, one.high))
    below = f"<small>[{low}, {high}]</small>"
    if not one.is_told_apart:
        return cell(one.value, f"{value}{below}", "figure alike")
    if more_is_better is None:
        return cell(one.value, f"<b>{value}</b>{below}", "figure")
    word = "better" if (one.value > 0) == more_is_better else "worse"
    return cell(one.value, f'<b title="{word} than the reference">{value}</b>{below}', f"figure {word}")


def signed(value: float, digits: int) -> str:
    """A difference with its sign; a minus is as wide as a plus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def _discordant(one: Difference | None) -> str:
    if one is None or one.discordant is None:
        return cell(None, "–", "figure")
    below = f"<small>+{one.gained} −{one.lost}</small>"
    return cell(one.discordant, f"{one.discordant}{below}", "figure")


def _caption(has_hits: bool) -> str:
    ways = (
        ["Samples that differ: a hit of one of both, + of the run, − of the reference."] if has_hits else []
    )
    return " ".join(
        [
            "Below each difference its 95 % interval, over samples and for each row by itself; another"
            " training may differ by more.",
            "Blue is better than the reference, orange worse; grey is not told apart from it, its interval"
            " holds 0.",
            *ways,
        ]
    )


def _alone(comparison: Comparison) -> str:
    """Who is left out, and why."""
    named = [f"{_name(comparison, run)} ({why})" for run, why in comparison.alone[:MOST_NAMED]]
    left = len(comparison.alone) - len(named)
    more = f"; and {left} more" if left > 0 else ""
    many, of_all = len(comparison.alone), f"{len(comparison.alone)} of {len(comparison.runs)} runs"
    return (
        f"{of_all} {'is' if many == 1 else 'are'} not compared in pairs, which takes the same samples:"
        f" {'; '.join(named)}{more}."
    )


def _name(comparison: Comparison, run: Run) -> str:
    label = comparison.settings[comparison.place_of(run)].label
    seeds = {str(other.config.get(SEED)) for other in comparison.runs}
    return f"{label}, {said(SEED, run.config.get(SEED))}" if len(seeds) > 1 else label
