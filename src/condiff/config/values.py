"""Does a plain value fit an annotation, and what does it become; else a sentence of what is allowed."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from condiff.config.annotations import Wired
from condiff.config.hints import nearest
from condiff.ranges import Range


class MisfitError(ValueError):
    """A value that an annotation does not allow; says what it does."""


def fit(value: Any, annotation: Any) -> Any:
    """The value in the annotation's own type (2 becomes 2.0 for a float); raises MisfitError.

    Nothing is parsed: text is never a number, a number never a bool. Tuples are lists, as in JSON.
    """
    fitted = _fitted(value, annotation)
    if fitted is _NO:
        hint = nearest(value, _choices(annotation)) if isinstance(value, str) else ""
        raise MisfitError(f"must be {describe(annotation)}, got {_shown(value)}{hint}")
    return fitted


def describe(annotation: Any) -> str:
    """What an annotation allows, in words."""
    kind, limits = _parts(annotation)
    origin, inside = get_origin(kind), get_args(kind)
    if origin in _UNIONS:
        said = dict.fromkeys(describe(member) for member in inside)
        return " or ".join(sorted(said, key=lambda words: ", each " in words))  # what is each, last
    if origin is Literal:
        return f"{'one of ' if len(inside) > 1 else ''}{', '.join(map(str, inside))}"
    if origin in _SEQUENCES and inside:
        return _described_list(origin, inside)
    if origin in _MAPPINGS and inside:
        return f"a mapping, each value {describe(inside[-1])}"
    if limits:
        return _number(kind, limits[0])
    return _WORDS.get(kind, "a mapping" if is_dataclass(kind) else "a value")


def is_plain(annotation: Any) -> bool:
    """Whether no object is asked for, neither itself nor inside a list or mapping."""
    kind, _ = _parts(annotation)
    inside = () if get_origin(kind) is Literal else get_args(kind)
    return kind is not Wired and all(map(is_plain, inside))


_NO = object()
_UNIONS = (Union, types.UnionType)
_SEQUENCES = (list, tuple, Sequence)
_MAPPINGS = (dict, Mapping)
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    list: "a list",
    tuple: "a list",
    Sequence: "a list",
    dict: "a mapping",
    Mapping: "a mapping",
    type(None): "null",
    Wired: "an object with a _target_",
}


def _parts(annotation: Any) -> tuple[Any, list[Range]]:
    """The type without its ``Annotated``, and its ranges."""
    if get_origin(annotation) is not Annotated:
        return annotation, []
    kind, *rest = get_args(annotation)
    return kind, [part for part in rest if isinstance(part, Range)]


def _fitted(value: Any, annotation: Any) -> Any:
    kind, limits = _parts(annotation)
    origin, inside = get_origin(kind), get_args(kind)
    if origin in _UNIONS:
        return next((got for member in inside if (got := _fitted(value, member)) is not _NO), _NO)
    if origin is Literal:
        same = (choice for choice in inside if choice == value and type(choice) is type(value))
        return next(same, _NO)
    if kind in _SEQUENCES or origin in _SEQUENCES:
        return _fitted_list(value, origin, inside)
    if kind in _MAPPINGS or origin in _MAPPINGS:
        return _fitted_mapping(value, inside[1] if inside else Any)
    return _fitted_leaf(value, kind, limits)


def _fitted_leaf(value: Any, kind: Any, limits: list[Range]) -> Any:
    if kind is Any:
        return value
    if kind is Wired:
        return value if isinstance(value, Mapping) and "_target_" in value else _NO
    if kind is float and type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            return _NO
    if type(value) is not kind or any(value not in limit for limit in limits):
        return _NO
    return value


def _fitted_list(value: Any, origin: Any, inside: tuple[Any, ...]) -> Any:
    if not isinstance(value, list | tuple):
        return _NO
    if not inside:
        return list(value)
    if origin is not tuple or inside[-1] is ...:
        inside = (inside[0],) * len(value)
    if len(value) != len(inside):
        return _NO
    fitted = [_fitted(item, member) for item, member in zip(value, inside, strict=True)]
    return _NO if any(item is _NO for item in fitted) else fitted


def _fitted_mapping(value: Any, inside: Any) -> Any:
    if not isinstance(value, Mapping) or "_target_" in value:
        return _NO
    fitted = {key: _fitted(item, inside) for key, item in value.items()}
    return _NO if any(item is _NO for item in fitted.values()) else fitted


def _described_list(origin: Any, inside: tuple[Any, ...]) -> str:
    if origin is tuple and inside[-1] is not ...:
        return f"a list of {len(inside)}: {'; '.join(map(describe, inside))}"
    return f"a list, each {describe(inside[0])}"


def _number(kind: Any, limit: Range) -> str:
    said = str(limit)
    return f"a finite {_WORDS[kind].split()[-1]}" if said == "finite" else f"{_WORDS[kind]} {said}"


def _choices(annotation: Any) -> list[str]:
    kind, _ = _parts(annotation)
    if get_origin(kind) is Literal:
        return [choice for choice in get_args(kind) if isinstance(choice, str)]
    members = get_args(kind) if get_origin(kind) in _UNIONS else ()
    return [choice for member in members for choice in _choices(member)]


def _shown(value: Any) -> str:
    """A value as the user wrote it, cut to a line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return (
            f"an object {value['_target_']}" if "_target_" in value else f"a mapping {_cut(str(dict(value)))}"
        )
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
