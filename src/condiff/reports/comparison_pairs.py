"""The section of a comparison page that judges settings in pairs: at the same noise, sample by sample."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from condiff.reports.comparison import Comparison
from condiff.reports.comparison_axes import Contrast, contrasts
from condiff.reports.comparison_tables import cell, head, sortable, value_cell
from condiff.reports.over_seeds import ALIKE, SAME, OverSeeds
from condiff.reports.redact import escaped
from condiff.reports.runs import SEED, Run
from condiff.reports.values import said

MOST_NAMED = 3  # runs that are not compared
MOST_CONTRASTS = 8  # of choices; results.csv has all
Rows = Mapping[int, Mapping[str, OverSeeds]]  # by the place of the setting


def pairs(comparison: Comparison) -> list[str]:
    """Choices where all else is the same, all settings less one, what it covers, and who is left out."""
    own = comparison.pairs
    parts = [f'<p class="told">{escaped(own.without)}</p>'] if own.without else []
    if own.found:
        parts += [_contrasts(comparison), _references(comparison), _covers(comparison, [*own.found.values()])]
    if own.alone:
        parts.append(f'<p class="told">{escaped(_alone(comparison))}</p>')
    return parts


def _contrasts(comparison: Comparison) -> str:
    """A table for each choice less the first of its axis."""
    found = comparison.pairs.found
    tables = []
    for contrast in contrasts(comparison):
        rows = {place: found[place, less] for place, less in contrast.at.values() if (place, less) in found}
        if rows:
            tables.append(_contrast(comparison, contrast, rows))
    left = len(tables) - MOST_CONTRASTS
    more = [f'<p class="told">{left} more of such tables are in results.csv.</p>'] if left > 0 else []
    return "\n".join([*tables[:MOST_CONTRASTS], *more])


def _contrast(comparison: Comparison, contrast: Contrast, rows: Rows) -> str:
    title = f"{contrast.title}, {contrast.held}"
    return f"<h3>{escaped(title)}</h3>\n{_table(comparison, rows, contrast.others)}"


def _references(comparison: Comparison) -> str:
    """The settings less the best one, and behind a selector less each other."""
    own, parts, names = comparison.pairs, [], []
    for place in own.references:
        rows = {one: found for (one, less), found in own.found.items() if less == place}
        name = escaped(comparison.settings[place].label)
        first = place == own.references[0]
        why = f", {escaped(_why(comparison))}" if first else ""
        table = _table(comparison, rows, comparison.settings[0].named_by)
        left = len(comparison.settings) - 1 - len(rows)
        more = f" {left} more of the settings share no samples with it." if left else ""
        lead = f'<p class="sum">Less <b>{name}</b>{why}.{more}</p>'
        hidden = "" if first else " hidden"
        parts.append(f'<div class="less" data-reference="{place}"{hidden}>{lead}\n{table}</div>')
        names.append(f'<option value="{place}"{" selected" if first else ""}>{name}</option>')
    if not parts:
        return ""
    choice = f'<label>less <select id="reference">{"".join(names)}</select></label>'
    live = f'<div class="controls live">{choice}</div>\n' if len(names) > 1 else ""
    return "<h3>Every setting less a reference</h3>\n" + live + "\n".join(parts)


def _why(comparison: Comparison) -> str:
    """By what rule the reference is one."""
    judged, place = comparison.judged_by, comparison.pairs.references[0]
    if judged is None:
        return "the first setting"
    where = "" if place in comparison.best[judged].places else " among those that share their samples"
    return f"the setting with the best {judged}{where}"


@dataclass(frozen=True)
class _Columns:
    """What a table has a column for."""

    named: Sequence[str]  # what tells its rows apart
    metrics: Sequence[str]  # that some row has
    hits: frozenset[str]  # those of them that count hits
    has_seeds: bool

    @classmethod
    def of(cls, comparison: Comparison, rows: Rows, named: Sequence[str]) -> "_Columns":
        found = [one for own in rows.values() for one in own.items()]
        there = {name for name, _ in found}
        return cls(
            named,
            [name for name in comparison.metrics if name in there],
            frozenset(name for name, one in found if one.hits is not None),
            any(len(one.pairs) > 1 for _, one in found),
        )


def _table(comparison: Comparison, rows: Rows, named: Sequence[str]) -> str:
    columns = _Columns.of(comparison, rows, named)
    heads = [head(name) for name in (columns.named or ["setting"])]
    for metric in columns.metrics:
        heads.append(head(f"{metric} {comparison.arrow(metric)}".strip(), "figure"))
        heads += [head("samples that differ", "figure")] if metric in columns.hits else []
    heads += [head("seeds", "figure")] if columns.has_seeds else []
    heads.append(head("n", "figure"))
    lines = [_row(comparison, columns, place, rows[place]) for place in sorted(rows)]
    return sortable(heads, lines, "")


def _row(comparison: Comparison, columns: _Columns, place: int, found: Mapping[str, OverSeeds]) -> str:
    setting = comparison.settings[place]
    cells = [value_cell(path, setting.values, setting.runs[0]) for path in columns.named]
    cells = cells or [cell(setting.label, escaped(setting.label), "named")]
    for metric in columns.metrics:
        one = found.get(metric)
        cells.append(_difference(one, comparison.directions.get(metric)))
        cells += [_discordant(one)] if metric in columns.hits else []
    if columns.has_seeds:
        seeds = max(len(one.pairs) for one in found.values())
        cells.append(cell(seeds, str(seeds), "figure"))
    n = max(one.n for one in found.values())
    cells.append(cell(n, str(n), "figure") if n else cell(None, "–", "figure"))
    return f'<tr data-place="{place}">{"".join(cells)}</tr>'


def _difference(one: OverSeeds | None, more_is_better: bool | None) -> str:
    """The value, what it comes to in words, and what each interval says."""
    if one is None:
        return cell(None, "–", "figure")
    verdict = one.verdict(more_is_better)
    shortest = min((high - low for low, high in filter(None, (one.samples, one.trainings))), default=0.0)
    digits = max(0, 1 - math.floor(math.log10(shortest / 2))) if shortest > 0 else 3
    below = "".join(
        f"<small>{name} [{signed(ends[0], digits)}, {signed(ends[1], digits)}]</small>"
        for name, ends in (("samples", one.samples), ("seeds", one.trainings))
        if ends and verdict != SAME
    )
    value = "0" if verdict == SAME else signed(one.value, digits)
    state = "alike" if verdict in (SAME, ALIKE) else verdict.partition(" ")[0]
    strong = value if state == "alike" else f"<b>{value}</b>"
    return cell(one.value, f'{strong}<span class="verdict">{verdict}</span>{below}', f"figure {state}")


def signed(value: float, digits: int) -> str:
    """A difference with its sign; a minus is as wide as a plus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def _discordant(one: OverSeeds | None) -> str:
    if one is None or one.hits is None:
        return cell(None, "–", "figure")
    gained, lost = one.hits
    return cell(gained + lost, f"{gained + lost}<small>+{gained} −{lost}</small>", "figure")


def _covers(comparison: Comparison, found: Sequence[Mapping[str, OverSeeds]]) -> str:
    """What is paired, what an interval covers, and what the words mean."""
    every = [item for own in found for item in own.items()]
    lines = [
        "Paired: two runs of one seed start from the same noise and were asked for the same; they come from"
        " one training where the settings do not change it.",
        "“samples” is the 95 % interval over other samples of the very models compared here.",
        *_certainty(max(one.num_trainings for _, one in every if one.trainings or one.samples)),
    ]
    distances = [
        *dict.fromkeys(name for name, one in every if one.is_paired and comparison.is_distance(name))
    ]
    if distances:
        lines.append(
            f"{', '.join(distances)}: each sample counts by how far it moves the distance, to first order, so"
            " what two settings have in common by their noise is not counted."
        )
    crude = [*dict.fromkeys(name for name, one in every if not one.is_paired and one.samples)]
    if crude:
        are = "has no values" if len(crude) == 1 else "have no values"
        lines.append(
            f"{', '.join(crude)} {are} per sample, so “samples” is as of independent ones there: far too wide"
            " where noise is shared, and “seeds”, which needs no such values, may be shorter."
        )
    if any(one.hits for _, one in every):
        lines.append("Samples that differ: a hit of one of both, + of the setting, − of what it is less of.")
    lines.append("Each row stands by itself: of twenty without any difference, one is told apart by chance.")
    return f'<ul class="notes">{"".join(f"<li>{escaped(line)}</li>" for line in lines)}</ul>'


def _certainty(num_trainings: int) -> list[str]:
    """What is known of other trainings, and by which word."""
    if num_trainings == 1:
        return [
            "“better here” and “worse here”: that interval leaves 0 out. All is of one training, so nothing"
            " is known of others; several seeds (seed=0,1,2) would tell."
        ]
    return [
        "“seeds” is the 95 % interval over other trainings and their samples: Student's, of the mean of the"
        f" differences of {num_trainings} trainings. It is wide where they are few: the mean ± 9.0 of their"
        " standard deviations for two trainings, ± 2.5 for three, ± 1.2 for five.",
        "“better” and “worse” hold for other trainings, too (“seeds” leaves 0 out); “better here” and “worse"
        " here” for these trainings only (“samples” leaves 0 out).",
    ]


def _alone(comparison: Comparison) -> str:
    """Who is left out, and why."""
    alone = comparison.pairs.alone
    named = [f"{_name(comparison, run)} ({why})" for run, why in alone[:MOST_NAMED]]
    left = len(alone) - len(named)
    more = f"; and {left} more" if left > 0 else ""
    of_all = f"{len(alone)} of {len(comparison.runs)} runs"
    return (
        f"{of_all} {'is' if len(alone) == 1 else 'are'} not compared sample by sample, which takes the same"
        f" samples: {'; '.join(named)}{more}."
    )


def _name(comparison: Comparison, run: Run) -> str:
    label = comparison.settings[comparison.place_of(run)].label
    seeds = {str(other.config.get(SEED)) for other in comparison.runs}
    return f"{label}, {said(SEED, run.config.get(SEED))}" if len(seeds) > 1 else label
