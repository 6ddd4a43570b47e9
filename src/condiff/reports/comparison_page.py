"""``comparison.html``: finished runs beside each other, in one file that opens from the disk."""

from collections.abc import Sequence
from importlib.resources import files

from condiff.reports.comparison import Comparison
from condiff.reports.comparison_answers import answers
from condiff.reports.comparison_axes import EACH, swept
from condiff.reports.comparison_noise import noise
from condiff.reports.comparison_pairs import pairs
from condiff.reports.comparison_style import CSS
from condiff.reports.comparison_tables import runs_table, settings_table
from condiff.reports.html import caption, page, section
from condiff.reports.plots import Plot
from condiff.reports.redact import escaped, redact
from condiff.reports.runs import SEED
from condiff.reports.tables import number

PAGE = "comparison.html"
MOST_FACTS = 8
MOST_NEAR = 4  # settings that are named beside the best one


def render(
    comparison: Comparison, costs: Sequence[Plot], curves: Sequence[Plot], losses: Sequence[Plot]
) -> str:
    """The page; every text in it is escaped and free of secrets."""
    body = [
        _head(comparison),
        answers(comparison),
        _facts(comparison),
        section("Settings", [settings_table(comparison)]),
        section("Metrics", [_measured(comparison, costs, curves)] if [*costs, *curves] else []),
        section("Differences in pairs", pairs(comparison)),
        section("The same noise", noise(comparison)),
        section("Training", [_plots(losses)] if losses else []),
        section("Jobs that failed", [_failed(comparison.failed)] if comparison.failed else []),
        section("Notes", [_notes(comparison)]),
        section("Runs", [runs_table(comparison)]),
    ]
    return page(comparison.title, "\n".join(part for part in body if part), CSS, script())


def script() -> str:
    return files("condiff.reports").joinpath("comparison.js").read_text(encoding="utf-8")


def _head(comparison: Comparison) -> str:
    return (
        f'<header>\n<p class="over">condiff comparison</p>\n<h1>{escaped(comparison.title)}</h1>\n'
        f'<p class="question">{escaped(comparison.question)}</p>\n'
        f'<pre class="command">{escaped(comparison.command)}</pre>\n'
        f'<p class="sum">{_summary(comparison)}</p>\n</header>'
    )


def _summary(comparison: Comparison) -> str:
    """How many runs there are, and in what they differ."""
    seeds = sorted({str(run.config.get(SEED)) for run in comparison.runs}, key=lambda s: (len(s), s))
    differing = ", ".join(f"<b>{escaped(path)}</b>" for path in comparison.table) or "nothing but the seed"
    several = f"; seeds {escaped(', '.join(seeds))}" if len(seeds) > 1 else f"; seed {escaped(seeds[0])}"
    number_of = len(comparison.failed)
    failed = f"; {number_of} job{'s' if number_of > 1 else ''} failed" if number_of else ""
    settings = f", {len(comparison.settings)} settings" if comparison.table else ""
    return f"{len(comparison.runs)} runs{settings} that differ in {differing}{several}{failed}"


def _facts(comparison: Comparison) -> str:
    """The best setting of each metric, and what cannot be told from it."""
    named = [name for name in comparison.metrics if comparison.best[name].places]
    facts = "\n".join(_fact(comparison, name) for name in named[:MOST_FACTS])
    return f'<dl class="facts">\n{facts}\n</dl>' if facts else ""


def _fact(comparison: Comparison, metric: str) -> str:
    best, estimates = comparison.best[metric], comparison.estimates[metric]
    places = sorted(best.places)
    found = estimates[places[0]]
    assert found is not None
    label = comparison.settings[places[0]].label
    also = f" and {len(places) - 1} more" if len(places) > 1 else ""
    lines = [f"<b>{escaped(label)}</b>{also}"]
    if best.near:
        near = [comparison.settings[place].label for place in sorted(best.near)]
        more = f" and {len(near) - MOST_NEAR} more" if len(near) > MOST_NEAR else ""
        lines.append(f"not told apart: {escaped('; '.join(near[:MOST_NEAR]))}{more}")
    floor = comparison.floor(metric)
    if floor is not None:
        lines.append(f"real pictures: {number(floor)}")
    told = "".join(f"<dd>{line}</dd>" for line in lines)
    name = f"best {metric.replace('_', ' ')} {comparison.arrow(metric)}"
    return (
        f'<div class="fact"><dt>{escaped(name)}</dt><dd class="value">{escaped(found.text)}</dd>{told}</div>'
    )


def _plots(plots: Sequence[Plot]) -> str:
    inside = "\n".join(_plot(plot, "") for plot in plots)
    return f'<div class="plots">\n{inside}\n</div>'


def _plot(plot: Plot, attributes: str) -> str:
    return (
        f'<figure{attributes}><h3>{escaped(plot.title)}</h3><div class="wide">{plot.inline()}</div>'
        f"{caption(plot.caption)}</figure>"
    )


def _measured(comparison: Comparison, costs: Sequence[Plot], curves: Sequence[Plot]) -> str:
    """What one metric costs in another, large, and each of them over the settings."""
    if comparison.has_seeds:
        words = "Large dots: the mean over runs that differ in their seed; bars: from the lowest of them to "
        words += "the highest; small dots: each run."
    else:
        words = "Bars: 95 % intervals, where there are any."
    if any(comparison.floor(metric) is not None for metric in comparison.metrics):
        words += " Dashed: what held-out real pictures reach."
    large = "\n".join(_plot(plot, ' class="large"') for plot in costs)
    small = "\n".join(_plot(plot, "") for plot in curves)
    # plots with a row for each setting are too high to stand beside large ones
    between = '\n</div>\n<div class="plots">' if costs and EACH in swept(comparison) else ""
    first = "plots costs" if between else "plots"
    return f'<div class="{first}">\n{large}{between}\n{small}\n</div>\n{caption(words)}'


def _failed(failed: Sequence[tuple[str, str]]) -> str:
    items = "\n".join(
        f"<li><code>{escaped(_override(overrides))}</code>: {escaped(line)}</li>"
        for overrides, line in failed
    )
    return f'<ul class="notes failed">\n{items}\n</ul>'


def _override(text: str) -> str:
    """Overrides without the values of secrets, which may have several words."""
    return ", ".join(redact(text.split(", ")))


def _notes(comparison: Comparison) -> str:
    lines = [*comparison.notes, *_protocol_notes(comparison)]
    if any(best.near for best in comparison.best.values()):
        what = "standard deviations over seeds" if comparison.has_seeds else "95 % intervals"
        pairs = "the difference in pairs holds 0, over samples, or where there is none, that"
        lines.append(f"Not told apart means that {pairs if comparison.pairs.found else ''} {what} meet.")
    items = "\n".join(f"<li>{escaped(line)}</li>" for line in lines)
    return f'<ul class="notes">\n{items}\n</ul>' if items else ""


def _protocol_notes(comparison: Comparison) -> list[str]:
    notes = []
    for metric in comparison.metrics:
        protocols = sorted(comparison.protocols(metric))
        if len(protocols) > 1:
            listed = "; ".join(f"{text}, n = {n}" for text, n in protocols[:4])
            notes.append(f"{metric} was measured in several ways, so none is called best: {listed}")
    return notes
