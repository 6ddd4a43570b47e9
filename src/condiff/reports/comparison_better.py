"""Whether one choice is better than another, in words: at each value of what else was varied, and in all."""

from collections.abc import Mapping, Sequence

from condiff.reports.comparison import Comparison
from condiff.reports.comparison_axes import Contrast, by_others, contrasts
from condiff.reports.over_seeds import ALIKE, SAME, OverSeeds
from condiff.reports.redact import escaped
from condiff.reports.values import said, shown

MOST_CONTRASTS = 4
MOST_NAMED = 6  # settings in a row
YES, NO, BOTH = "yes", "no", "better in one metric, worse in another"
_VERDICTS = ("better", "better here", "worse", "worse here", ALIKE, SAME)
_HERE = ", for the models trained here"
Verdicts = Mapping[str, Sequence[tuple[int, OverSeeds]]]


def questions(
    comparison: Comparison, metrics: Sequence[str], first: int | None
) -> list[tuple[str, list[str]]]:
    """Each choice against the first of its axis, where all else is the same.

    first: the place of the setting to take, where there is one; what holds beside it is said first.
    """
    found = []
    for contrast in contrasts(comparison):
        own = {metric: verdicts(comparison, contrast, metric) for metric in metrics}
        own = {metric: at for metric, at in own.items() if at}
        if own:
            found.append((contrast, own))
    told = [_question(comparison, contrast, own, first) for contrast, own in found[:MOST_CONTRASTS]]
    if len(found) > MOST_CONTRASTS:
        told[-1][1].append(f"And {len(found) - MOST_CONTRASTS} more such questions, below.")
    return told


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


def named(places: Sequence[int], labels: Mapping[int, str]) -> str:
    """The first few of them and how many more there are."""
    listed = "; " if any("," in labels[place] for place in places) else ", "
    more = f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
    return escaped(listed.join(labels[place] for place in places[:MOST_NAMED])) + more


def _question(
    comparison: Comparison, contrast: Contrast, own: Mapping[str, Verdicts], first: int | None
) -> tuple[str, list[str]]:
    choice, less = (escaped(said(contrast.axis, value)) for value in (contrast.choice, contrast.less))
    names = _names(comparison, contrast)
    parts = "; ".join(f"{escaped(metric)} is {_where(contrast, at, names)}" for metric, at in own.items())
    lead = _lead(comparison, contrast, [*own.values()], first)
    return f"Is {choice} better than {less}?", [
        f"<b>{lead}</b> {escaped(contrast.held.capitalize())}, {parts}."
    ]


def _lead(comparison: Comparison, contrast: Contrast, found: Sequence[Verdicts], first: int | None) -> str:
    """One word where it holds at every value that is not the same by itself; else at which values it does.

    It says whether that is known of these trainings alone.
    """
    at = _by_place(contrast, found)
    sides = {place: _side(said) for place, said in at.items()}
    kinds = {side: [place for place in at if sides[place] == side] for side in (YES, NO, BOTH)}
    kinds = {side: places for side, places in kinds.items() if places}
    if not kinds:
        return "No difference." if {*sides.values()} == {SAME} else "It cannot be told."
    sure = all({"better", "worse"} & at[place] for places in kinds.values() for place in places)
    here, names = "" if sure else _HERE, _names(comparison, contrast)
    if len(kinds) == 1 and ALIKE not in sides.values():
        return f"{ {YES: 'Yes', NO: 'No', BOTH: 'It depends'}[next(iter(kinds))] }{here}."
    beside = _beside(comparison, contrast, sides, first)
    if [*kinds] == [YES]:
        line = f"Only at {named(kinds[YES], names)}: yes{here}."
    elif [*kinds] == [NO]:
        line = f"{'Worse' if beside else 'No: worse'} only at {named(kinds[NO], names)}{here}."
    else:
        parts = "; ".join(f"{side} at {named(places, names)}" for side, places in kinds.items())
        line = f"It depends: {parts}{here}."
    return beside + line


def _by_place(contrast: Contrast, found: Sequence[Verdicts]) -> dict[int, set[str]]:
    """What the metrics say at each common value, by the place of the choice there."""
    return {
        place: {verdict for at in found for verdict, own in at.items() if place in (k for k, _ in own)}
        for place, _ in contrast.at.values()
    }


def _side(told: set[str]) -> str:
    """What all metrics come to at one value; what was not measured is not told apart."""
    better, worse = ({word for word in told if word.startswith(start)} for start in ("better", "worse"))
    if better or worse:
        return BOTH if better and worse else YES if better else NO
    return SAME if told == {SAME} else ALIKE


def _beside(comparison: Comparison, contrast: Contrast, sides: Mapping[int, str], first: int | None) -> str:
    """What holds at the value of the setting to take."""
    groups = by_others(comparison, contrast.axis)
    at = next((name for name, places in groups.items() if first in places and name in contrast.at), None)
    return f"At {escaped(at)}, the one to take: {sides[contrast.at[at][0]]}. " if at else ""


def _names(comparison: Comparison, contrast: Contrast) -> dict[int, str]:
    """The common values by the place of the choice there: of one axis without its name."""
    names = {place: name for name, (place, _) in contrast.at.items()}
    if len(contrast.others) != 1:
        return names
    axis = contrast.others[0]
    return {place: shown(comparison.settings[place].values[axis]) for place in names}


def _where(contrast: Contrast, found: Verdicts, names: Mapping[int, str]) -> str:
    """Such as ``better at scale 3, 5, not told apart at scale 1.5``; no places where there is one verdict."""
    every = sum(map(len, found.values())) == len(contrast.at)
    if len(found) == 1 and every and len(contrast.at) > 1:
        return f"{next(iter(found))} everywhere"
    return ", ".join(
        f"{verdict} at {named([place for place, _ in own], names)}" if contrast.others else verdict
        for verdict, own in found.items()
    )
