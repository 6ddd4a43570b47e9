"""What was varied in a comparison, and which settings differ in one such thing alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from condiff.reports.comparison import Comparison
from condiff.reports.plots import words
from condiff.reports.runs import telling
from condiff.reports.values import are_numbers, in_order, said

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


@dataclass(frozen=True)
class Contrast:
    """A choice less another one of the same axis, wherever all else is the same."""

    axis: str
    choice: Any
    less: Any
    others: Sequence[str]  # the axes that are held at a value
    at: Mapping[str, tuple[int, int]]  # by those values in words: the places of both settings

    @property
    def title(self) -> str:
        return f"{said(self.axis, self.choice)} less {said(self.axis, self.less)}"

    @property
    def held(self) -> str:
        """What is the same, in words."""
        return f"at the same {', '.join(self.others)}" if self.others else "all else the same"


def contrasts(comparison: Comparison) -> list[Contrast]:
    """Each further choice of an axis less its first one, where settings differ in that alone."""
    found = []
    for axis in (axis for axis in swept(comparison) if axis != EACH and not is_numeric(comparison, axis)):
        groups, values = by_others(comparison, axis), in_order(comparison.table[axis])
        beside = {axis, *together_with(comparison, axis)}
        others = telling({path: column for path, column in comparison.table.items() if path not in beside})
        for choice in values[1:]:
            at = {}
            for name, places in groups.items():
                by_value = {comparison.settings[place].values[axis]: place for place in places}
                if choice in by_value and values[0] in by_value:
                    at[name] = (by_value[choice], by_value[values[0]])
            found += [Contrast(axis, choice, values[0], others, at)] if at else []
    return found


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
    telling_apart = telling(others)
    for place, setting in enumerate(comparison.settings):
        name = ", ".join(words(said(path, setting.values[path], comparison.table)) for path in telling_apart)
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
