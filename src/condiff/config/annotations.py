"""An annotation in a source text as the type it stands for, without running the module."""

import ast
import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Optional, Union

from condiff import ranges
from condiff.config.sources import Module, read_module


class Wired:
    """An object: handed over in Python or named by a ``_target_``, never a plain value."""


_PLAIN: dict[str, Any] = {kind.__name__: kind for kind in (bool, int, float, str, list, tuple, dict)}
_TYPING: dict[str, Any] = {
    "Literal": Literal,
    "Annotated": Annotated,
    "Any": Any,
    "Optional": Optional,
    "Union": Union,
    "Sequence": Sequence,
    "Mapping": Mapping,
}
_HOMES = {"typing", "collections.abc"}


def read_annotation(node: ast.expr | None, module: Module) -> Any:
    """The type of an annotation; what is no plain value in it is ``Wired``."""
    kind: Any = Wired
    match node:
        case ast.Constant(value=None):
            kind = type(None)
        case ast.Constant(value=str() as text):
            kind = read_annotation(ast.parse(text, mode="eval").body, module)
        case ast.Name(id=name):
            kind = _named(name, module)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            kind = operator.or_(read_annotation(left, module), read_annotation(right, module))
        case ast.Subscript(value=ast.Name(id=name), slice=inside):
            kind = _subscripted(_named(name, module), inside, module)
    return kind


def read_constant(node: ast.expr, module: Module) -> Any:
    """A literal, or the literal that a name of the module stands for; ValueError where there is none."""
    if isinstance(node, ast.Name):
        found = _constant(node.id, module)
        if found is None:
            raise ValueError(f"{node.id} is no constant of {module.name}")
        return read_constant(*found)
    return ast.literal_eval(node)


def _named(name: str, module: Module) -> Any:
    if name in module.imports:
        origin, original = module.imports[name]
        if origin == ranges.__name__:
            return getattr(ranges, original, Wired)
        if origin in _HOMES:
            return _TYPING.get(original, Wired)
    found = _constant(name, module)
    if found is not None:
        return read_annotation(*found)
    known = name not in module.classes and name not in module.imports
    return _PLAIN.get(name, Wired) if known else Wired


def _constant(name: str, module: Module) -> tuple[ast.expr, Module] | None:
    """Where a module-level name gets its value, followed through imports within condiff."""
    if name in module.constants:
        return module.constants[name], module
    origin, original = module.imports.get(name, ("", ""))
    if origin.split(".")[0] != "condiff":
        return None
    home = read_module(origin)
    return _constant(original, home) if home is not None and home is not module else None


def _subscripted(generic: Any, inside: ast.expr, module: Module) -> Any:
    parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
    if generic is Wired:
        return Wired
    if generic is Literal:
        return Literal[tuple(read_constant(part, module) for part in parts)]
    if generic is Annotated:
        limits = [_range(part, module) for part in parts[1:]]
        return functools.reduce(
            lambda kind, limit: Annotated[kind, limit],
            filter(None, limits),
            read_annotation(parts[0], module),
        )
    kinds = tuple(
        ... if isinstance(part, ast.Constant) and part.value is ... else read_annotation(part, module)
        for part in parts
    )
    return operator.or_(kinds[0], None) if generic is Optional else generic[kinds]


def _range(node: ast.expr, module: Module) -> ranges.Range | None:
    match node:
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            if _named(name, module) is not ranges.Range:
                return None
            given = {word.arg: read_constant(word.value, module) for word in keywords if word.arg}
            return ranges.Range(*(read_constant(value, module) for value in args), **given)
    return None
