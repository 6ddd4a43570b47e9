"""What a comparison says in words: which setting to take, and whether one choice is better than another."""

from collections.abc import Iterator, Mapping, Sequence

from condiff.reports.comparison import Comparison
from condiff.reports.comparison_axes import EACH, Contrast, by_others, contrasts, is_numeric, swept
from condiff.reports.comparison_trade_offs import choice, trade_offs
from condiff.reports.html import section
from condiff.reports.over_seeds import ALIKE, SAME, OverSeeds
from condiff.reports.redact import escaped
from condiff.reports.runs import said, shown

MOST_LINES = 4  # of an axis that are told one by one
MOST_CONTRASTS = 4
MOST_FRONT = 3  # settings of a front that is short enough to be an answer
MOST_NAMED = 6  # settings in a row
_VERDICTS = ("better", "better here", "worse", "worse here", ALIKE, SAME)


def answers(comparison: Comparison) -> str:
    """Questions and their answers; nothing where it is not known which way a metric is good."""
    metrics = judging(comparison)
    if not metrics:
        return ""
    found = [*_which(comparison, metrics), *_is_better(comparison, metrics)]
    items = "\n".join(
        f"<dt>{question}</dt>{''.join(f'<dd>{line}</dd>' for line in own)}" for question, own in found
    )
    return section("In words", [f'<dl class="answers">\n{items}\n</dl>', _caption(comparison)])


def judging(comparison: Comparison) -> list[str]:
    """The metrics that settings are taken by: the first distance, and the first that speaks for samples."""
    ranked = [name for name in comparison.metrics if comparison.best[name].places]
    first = comparison.judged_by
    traded = (one.quality for one in trade_offs(comparison) if one.distance == first)
    second = next((name for name in (*traded, *ranked) if name in ranked and name != first), None)
    return [name for name in (first, second) if name is not None]


def leaders(comparison: Comparison, metric: str, places: Sequence[int]) -> list[int]:
    """Of these settings the best one by a metric, and those that are not told apart from it."""
    estimates, sign = comparison.estimates[metric], 1 if comparison.directions[metric] else -1
    known = {place: sign * one.value for place in places if (one := estimates[place])}
    if not known:
        return []
    best = max(known, key=lambda place: known[place])
    return [best, *(place for place in known if place != best and comparison.is_alike(metric, place, best))]


def verdicts(
    comparison: Comparison, contrast: Contrast, metric: str
) -> dict[str, list[tuple[int, OverSeeds]]]:
    """Of each verdict the settings of a choice that have it, in the order from better to the same."""
    more, found = comparison.directions.get(metric), {}
    for place, less in contrast.at.values():
        one = comparison.pairs.found.get((place, less), {}).get(metric)
        if one is not None:
            found.setdefault(one.verdict(more), []).append((place, one))
    return {verdict: found[verdict] for verdict in _VERDICTS if verdict in found}


def _which(comparison: Comparison, metrics: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Of all settings, and along each axis of numbers with all else as it is."""
    axes = [axis for axis in swept(comparison) if axis != EACH and is_numeric(comparison, axis)]
    lines = {
        axis: {name: own for name, own in by_others(comparison, axis).items() if len(own) > 1}
        for axis in axes
    }
    if len(axes) != 1 or len(lines[axes[0]]) != 1:
        labels = {place: setting.label for place, setting in enumerate(comparison.settings)}
        yield "Which setting?", [_take(comparison, metrics, labels) + _between(comparison, metrics, labels)]
    for axis, own in lines.items():
        if len(own) > MOST_LINES:
            continue
        told = []
        for name, places in own.items():
            labels = {place: shown(comparison.settings[place].values[axis]) for place in places}
            before = f"<b>{escaped(name)}</b>: " if name else ""
            told.append(before + _take(comparison, metrics, labels))
        yield f"Which {escaped(axis)}?", told


def _take(comparison: Comparison, metrics: Sequence[str], labels: Mapping[int, str]) -> str:
    """What is among the best in every metric, or that nothing is; then each metric."""
    leading = {metric: leaders(comparison, metric, [*labels]) for metric in metrics}
    leading = {metric: own for metric, own in leading.items() if own}
    if not leading:
        return "not measured."
    first = next(iter(leading.values()))
    common = [place for place in first if all(place in own for own in leading.values())]
    every = " and ".join(leading)
    if common:
        others = [place for place in common if place != common[0]]
        also = f" (or {_named(others, labels)})" if others else ""
        head = f"<b>{escaped(labels[common[0]])}</b>{also}"
        head += f": best, or not told apart from it, in {escaped(every)}." if len(leading) > 1 else "."
    else:
        ways = (f"<b>{escaped(labels[own[0]])}</b> for {escaped(metric)}" for metric, own in leading.items())
        head = f"{'; '.join(ways)}: none is best, or not told apart from it, in both."
    return " ".join([head, *(_led(comparison, metric, own, labels) for metric, own in leading.items())])


def _between(comparison: Comparison, metrics: Sequence[str], labels: Mapping[int, str]) -> str:
    """The few settings of the front to choose among, where none is among the best in both metrics."""
    leading = [{*leaders(comparison, metric, [*labels])} for metric in metrics]
    one = next((one for one in trade_offs(comparison) if [one.distance, one.quality] == [*metrics]), None)
    if one is None or set.intersection(*leading):
        return ""
    kept = choice(comparison, one)
    named = f" To choose among: {_named(kept, labels)}, which no other passes in both."
    return named if len(kept) <= MOST_FRONT else ""


def _led(comparison: Comparison, metric: str, own: Sequence[int], labels: Mapping[int, str]) -> str:
    one = comparison.estimates[metric][own[0]]
    assert one is not None
    alike = f", not told apart from {_named(own[1:], labels)}" if len(own) > 1 else ""
    arrow = comparison.arrow(metric)
    return (
        f"{escaped(f'{metric} {arrow}')} is best at {escaped(labels[own[0]])} ({escaped(one.text)}){alike}."
    )


def _is_better(comparison: Comparison, metrics: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each choice against the first of its axis, where all else is the same."""
    told = 0
    for contrast in contrasts(comparison):
        own = {metric: verdicts(comparison, contrast, metric) for metric in metrics}
        own = {metric: found for metric, found in own.items() if found}
        if not own or told == MOST_CONTRASTS:
            continue
        told += 1
        choice, less = (escaped(said(contrast.axis, value)) for value in (contrast.choice, contrast.less))
        parts = "; ".join(
            f"{escaped(metric)} is {_where(comparison, contrast, found)}" for metric, found in own.items()
        )
        line = f"<b>{_lead([*own.values()])}</b> {escaped(contrast.held.capitalize())}, {parts}."
        yield f"Is {choice} better than {less}?", [line]


def _lead(found: Sequence[Mapping[str, object]]) -> str:
    """One word for all verdicts, and whether it is known of these trainings alone."""
    every = {verdict for own in found for verdict in own}
    better, worse = ({word for word in every if word.startswith(start)} for start in ("better", "worse"))
    here = "" if {"better", "worse"} & every else ", for the models trained here"
    if better and worse:
        return f"It depends{here}."
    if better or worse:
        return f"{'Yes' if better else 'No'}{here}."
    return "No difference." if every == {SAME} else "It cannot be told."


def _where(
    comparison: Comparison, contrast: Contrast, found: Mapping[str, Sequence[tuple[int, object]]]
) -> str:
    """Such as ``better at scale 3, 5, not told apart at scale 1.5``; no places where there is one verdict."""
    if len(found) == 1 and len(contrast.at) > 1:
        return f"{next(iter(found))} everywhere"
    names = {place: name for name, (place, _) in contrast.at.items()}
    if len(contrast.others) == 1:
        axis = contrast.others[0]
        names = {place: shown(comparison.settings[place].values[axis]) for place in names}
    parts = []
    for verdict, own in found.items():
        listed = _named([place for place, _ in own], names)
        parts.append(f"{verdict} at {listed}" if contrast.others else verdict)
    return ", ".join(parts)


def _named(places: Sequence[int], labels: Mapping[int, str]) -> str:
    listed = "; " if any("," in labels[place] for place in places) else ", "
    more = f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
    return escaped(listed.join(labels[place] for place in places[:MOST_NAMED])) + more


def _caption(comparison: Comparison) -> str:
    """What such words rest on."""
    every = [one for own in comparison.pairs.found.values() for one in own.values()]
    if not every:
        return "<figcaption>Not told apart: their intervals meet.</figcaption>"
    several = max(one.num_trainings for one in every)
    if several == 1:
        words = "on samples of one training; another may say otherwise, and several seeds would tell."
    else:
        words = f"on samples of {several} trainings; “here” is what holds for these, maybe not for others."
    return f"<figcaption>Told by differences in pairs, below, {words}</figcaption>"
