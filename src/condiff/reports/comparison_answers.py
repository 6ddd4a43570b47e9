"""What a comparison says in words: which setting to take, and whether one choice is better than another."""

from collections.abc import Iterator, Mapping, Sequence

from condiff.reports.comparison import Comparison
from condiff.reports.comparison_axes import EACH, by_others, is_numeric, swept
from condiff.reports.comparison_better import named, questions
from condiff.reports.comparison_trade_offs import choice, trade_offs
from condiff.reports.html import section
from condiff.reports.redact import escaped
from condiff.reports.values import shown

MOST_LINES = 4  # of an axis that are told one by one
MOST_FRONT = 3  # settings of a front that is short enough to be an answer


def answers(comparison: Comparison) -> str:
    """Questions and their answers; nothing where it is not known which way a metric is good."""
    metrics = judging(comparison)
    if not metrics:
        return ""
    first = recommended(comparison, metrics)
    found = [*_which(comparison, metrics), *questions(comparison, metrics, first)]
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


def recommended(comparison: Comparison, metrics: Sequence[str]) -> int | None:
    """The place of the setting to take; None where none is among the best in every metric, or all are."""
    every = [*range(len(comparison.settings))]
    leading = _leading(comparison, metrics, every)
    return None if _all_lead(leading, every) else next(iter(_common(leading)), None)


def leaders(comparison: Comparison, metric: str, places: Sequence[int]) -> list[int]:
    """Of these settings the best one by a metric, then those not told apart from it, the better first."""
    known = _ranked(comparison, metric, places)
    return [place for place in known if place == known[0] or comparison.is_alike(metric, place, known[0])]


def _ranked(comparison: Comparison, metric: str, places: Sequence[int]) -> list[int]:
    """Those that were measured, the best first; of equal ones the first."""
    estimates, sign = comparison.estimates[metric], -1 if comparison.directions[metric] else 1
    known = {place: sign * one.value for place in places if (one := estimates[place])}
    return sorted(known, key=lambda place: known[place])


def _leading(comparison: Comparison, metrics: Sequence[str], places: Sequence[int]) -> dict[str, list[int]]:
    """The leaders in each metric that some were measured by."""
    found = {metric: leaders(comparison, metric, places) for metric in metrics}
    return {metric: own for metric, own in found.items() if own}


def _common(leading: Mapping[str, Sequence[int]]) -> list[int]:
    """The leaders in all metrics, the best by the first one first."""
    first = next(iter(leading.values()), ())
    return [place for place in first if all(place in own for own in leading.values())]


def _all_lead(leading: Mapping[str, Sequence[int]], places: Sequence[int]) -> bool:
    return len(places) > 1 and all({*own} == {*places} for own in leading.values())


def _which(comparison: Comparison, metrics: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Of all settings, and along each axis of numbers with all else as it is."""
    axes = [axis for axis in swept(comparison) if axis != EACH and is_numeric(comparison, axis)]
    lines = {
        axis: {name: own for name, own in by_others(comparison, axis).items() if len(own) > 1}
        for axis in axes
    }
    many = len(comparison.settings)
    if len(axes) != 1 or not any(len(own) == many for own in lines[axes[0]].values()):
        labels = {place: setting.label for place, setting in enumerate(comparison.settings)}
        yield "Which setting?", [_take(comparison, metrics, labels) + _between(comparison, metrics, labels)]
    for axis, own in lines.items():
        told = []
        for name, places in [*own.items()][:MOST_LINES]:
            labels = {place: shown(comparison.settings[place].values[axis]) for place in places}
            before = f"<b>{escaped(name)}</b>: " if name else ""
            told.append(before + _take(comparison, metrics, labels))
        if len(own) > MOST_LINES:
            told.append(f"And {len(own) - MOST_LINES} more, below.")
        if told:
            yield f"Which {escaped(axis)}?", told


def _take(comparison: Comparison, metrics: Sequence[str], labels: Mapping[int, str]) -> str:
    """What is among the best in every metric, or that nothing is; then each metric."""
    leading = _leading(comparison, metrics, [*labels])
    if not leading:
        return "not measured."
    common, every = _common(leading), " and ".join(leading)
    if _all_lead(leading, [*labels]):
        head = "None is told apart; more samples or seeds would tell."
    elif common:
        also = f" (or {named(common[1:], labels)})" if len(common) > 1 else ""
        head = f"<b>{escaped(labels[common[0]])}</b>{also}"
        head += f": best, or not told apart from it, in {escaped(every)}." if len(leading) > 1 else "."
    else:
        chosen = {metric: _of_alike(comparison, metric, own, metrics) for metric, own in leading.items()}
        ways = (f"<b>{escaped(labels[place])}</b> for {escaped(metric)}" for metric, place in chosen.items())
        head = f"{'; '.join(ways)}: none is best, or not told apart from it, in both."
    return " ".join([head, *(_led(comparison, metric, own, labels) for metric, own in leading.items())])


def _of_alike(comparison: Comparison, metric: str, own: Sequence[int], metrics: Sequence[str]) -> int:
    """Of the leaders in a metric, which are not told apart in it, the best in the other one."""
    ranked = (_ranked(comparison, other, own) for other in metrics if other != metric)
    return next((places[0] for places in ranked if places), own[0])


def _between(comparison: Comparison, metrics: Sequence[str], labels: Mapping[int, str]) -> str:
    """The few settings of the front to choose among, where none is among the best in both metrics."""
    leading = [{*leaders(comparison, metric, [*labels])} for metric in metrics]
    one = next((one for one in trade_offs(comparison) if [one.distance, one.quality] == [*metrics]), None)
    if one is None or set.intersection(*leading):
        return ""
    kept = choice(comparison, one)
    told = f" To choose among: {named(kept, labels)}, which no other passes in both."
    return told if len(kept) <= MOST_FRONT else ""


def _led(comparison: Comparison, metric: str, own: Sequence[int], labels: Mapping[int, str]) -> str:
    one = comparison.estimates[metric][own[0]]
    assert one is not None
    alike = f", not told apart from {named(own[1:], labels)}" if len(own) > 1 else ""
    what, here = f"{metric} {comparison.arrow(metric)}", _here(comparison, metric, own, labels)
    return f"{escaped(what)} is best {here}at {escaped(labels[own[0]])} ({escaped(one.text)}){alike}."


def _here(comparison: Comparison, metric: str, own: Sequence[int], labels: Mapping[int, str]) -> str:
    """Whether, of several trainings, only these set the best apart from the next that is not alike."""
    rest = [place for place in _ranked(comparison, metric, [*labels]) if place not in own]
    pair = comparison.pair(metric, own[0], rest[0]) if rest else None
    return "here " if pair and pair.num_trainings > 1 and not pair.is_told_apart else ""


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
