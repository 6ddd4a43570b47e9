"""What was varied in a comparison, and which settings differ in one such thing alone."""

from condiff.reports.comparison import Comparison
from condiff.reports.plots import words
from condiff.reports.runs import are_numbers, said, telling

EACH = "setting"  # the axis of settings that have no common one
_FULL = 2 / 3  # share of a design of choices and lines that is there, below which settings stand one by one


def swept(comparison: Comparison) -> list[str]:
    """The settings that some runs differ in alone; where there are none, the settings as they are.

    These stand in the place of choices, too, of which few are there in most lines.
    """
    found = [
        axis
        for axis, column in comparison.table.items()
        if len({*column}) > 1 and any(len(own) > 1 for own in by_others(comparison, axis).values())
    ]
    full = [axis for axis in found if is_numeric(comparison, axis) or _is_full(comparison, axis)]
    return full if full == found and full else [*full, EACH]


def _is_full(comparison: Comparison, axis: str) -> bool:
    """Whether most choices are there in most lines."""
    cells = len({*comparison.table[axis]}) * len(by_others(comparison, axis))
    return len(comparison.settings) >= _FULL * cells


def is_numeric(comparison: Comparison, axis: str) -> bool:
    return axis != EACH and are_numbers(comparison.table[axis])


def by_others(comparison: Comparison, axis: str) -> dict[str, list[int]]:
    """The places of the settings that differ in the axis alone, by what sets them apart from others."""
    if axis == EACH:
        return {"": list(range(len(comparison.settings)))}
    told_by_it = {axis, *together_with(comparison, axis)}
    others = {path: column for path, column in comparison.table.items() if path not in told_by_it}
    groups: dict[str, list[int]] = {}
    for place, setting in enumerate(comparison.settings):
        name = ", ".join(words(said(path, setting.values[path])) for path in telling(others))
        groups.setdefault(name, []).append(place)
    return groups


def together_with(comparison: Comparison, axis: str) -> list[str]:
    """What else differs and is told by the axis."""
    own = comparison.table.get(axis, [])
    return [
        path
        for path, column in comparison.table.items()
        if path != axis and own and len({*zip(own, column, strict=True)}) == len({*own})
    ]
