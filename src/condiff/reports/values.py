"""Values of settings, as they are ordered and read."""

from collections.abc import Collection, Sequence
from typing import Any, TypeGuard

from condiff.reports.redact import printable, redact

NULL = "null"  # a value that a config sets to nothing; None is one that it has not at all
_WORDS = ("none", "null", "off", "all", "any", "both")  # names that a sentence would not show to be names


def is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def are_numbers(column: Sequence[Any]) -> bool:
    """Whether a setting is a numeric axis: a number wherever it is there and no null, and more than one."""
    present = {value for value in column if value not in (None, NULL)}
    return len(present) > 1 and all(map(is_number, present))


def in_order(column: Sequence[Any]) -> list[Any]:
    """The values that occur: numbers by size, choices as they came; null and what is not there are last."""
    present = dict.fromkeys(value for value in column if value not in (None, NULL))
    ordered = sorted(present) if all(map(is_number, present)) else [*present]
    return ordered + [value for value in (NULL, None) if value in column]


def shown(value: Any) -> str:
    """A value of a setting as it is read."""
    return "–" if value is None else f"{value:g}" if is_number(value) else printable(redact(str(value)))


def said(path: str, value: Any, among: Collection[str] = ()) -> str:
    """A setting in few words: a choice by its name, a value with the end of its path that no other has."""
    if "." not in path and isinstance(value, str):
        return f"{path}={value}" if value.lower() in _WORDS else shown(value)
    parts, others = path.split("."), [other.split(".") for other in among if other != path]
    enough = (n for n in range(1, len(parts)) if all(other[-n:] != parts[-n:] for other in others))
    name = " ".join(parts[-next(enough, len(parts)) :]).replace("_", " ")
    return f"no {name}" if value is None else f"{name} {shown(value)}"


def plain(value: Any) -> Any:
    """A number as it is, anything else as text."""
    if value is None or is_number(value):
        return value
    if isinstance(value, list | tuple):
        return f"[{', '.join(str(plain(part)) for part in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
