"""What a ``_target_`` accepts, read from its source: nothing is imported to check a config.

Allowed are the public classes of condiff's own rooms, each by the module that defines it, and
the exact names of ``LIBRARY``. Everything else is refused, whatever it would import to.
"""

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from condiff.config.annotations import Wired, read_annotation, read_constant
from condiff.config.hints import nearest
from condiff.config.sources import SourceClass, find_class, read_module
from condiff.ranges import NonNegative, Positive, Probability

ROOMS = (
    "diffusion", "networks", "conditioners", "autoencoders", "adapters", "data", "methods", "evaluation",
    "callbacks",
)  # fmt: skip
# Where the jobs of a sweep run, and how it searches.
MODULES = ("condiff.sweeps.launchers", "condiff.sweeps.search")
_ADAM = {
    "lr": Positive,
    "betas": tuple[Probability, Probability],
    "eps": Positive,
    "weight_decay": NonNegative,
}
# A library's class, and the ranges that its own annotations do not tell.
LIBRARY: dict[str, dict[str, Any]] = {
    "torch.optim.AdamW": _ADAM,
    "torch.optim.Adam": _ADAM,
    "torch.optim.SGD": {
        "lr": Positive,
        "momentum": NonNegative,
        "dampening": Probability,
        "weight_decay": NonNegative,
    },
}
_NAME = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", re.ASCII)


class TargetError(ValueError):
    """A ``_target_`` that may not be built, or that does not exist."""


class Unreadable:
    """Stands for a default that is no literal."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument: the type of its plain values (``Wired`` for objects) and its default."""

    annotation: Any
    required: bool
    default: Any = None  # ``Unreadable`` where it is no literal


@dataclass(frozen=True, slots=True)
class Signature:
    target: str
    parameters: dict[str, Parameter]

    @property
    def name(self) -> str:
        """The class without its module."""
        return self.target.rpartition(".")[2]


@functools.cache
def signature_of(target: str) -> Signature:
    """The arguments of a target; TargetError if it is not allowed or not there."""
    found = _find(target)
    ranges = LIBRARY.get(target, {})
    read = parameters_of(found) or {}
    parameters = {
        name: Parameter(ranges.get(name, parameter.annotation), parameter.required, parameter.default)
        for name, parameter in read.items()
    }
    return Signature(target, parameters)


def class_attribute(target: str, name: str, default: Any = None) -> Any:
    """A constant in the body of a target's class or of its bases: ``reaches_zero_snr = True``."""
    for source in _lineage(_find(target)):
        for statement in source.node.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                    return read_constant(value, source.module)
                case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value) if found == name:
                    return read_constant(value, source.module)
    return default


def kinds_of(target: str) -> set[str]:
    """The names of a target's class and of its bases."""
    return {name for source in _lineage(_find(target)) for name in (source.name, *source.base_names())}


def _find(target: str) -> SourceClass:
    if target in LIBRARY:
        module_name, _, name = target.rpartition(".")
        module = read_module(module_name)
        found = find_class(module, name) if module else None
        if found is None:
            raise TargetError(f"{target} is not installed")
        return found
    parts = target.split(".") if isinstance(target, str) and _NAME.fullmatch(target) else []
    in_room = len(parts) > 2 and parts[0] == "condiff" and parts[1] in ROOMS
    if not in_room and ".".join(parts[:-1]) not in MODULES:
        raise TargetError(
            f"{target!r} may not be built; allowed are the classes of condiff.{{{','.join(ROOMS)}}}"
            f" and {', '.join(LIBRARY)}{nearest(target, LIBRARY)}"
        )
    return _own_class(".".join(parts[:-1]), parts[-1])


def _own_class(module_name: str, name: str) -> SourceClass:
    module = read_module(module_name)
    if module is None:
        raise TargetError(f"there is no module {module_name}")
    public = [word for word in module.classes if not word.startswith("_")]
    if name not in public:
        raise TargetError(f"{module_name} defines no class {name!r}{nearest(name, public)}")
    source = SourceClass(module, module.classes[name])
    if source.base_names() & {"Protocol", "ABC"}:
        raise TargetError(f"{name} is an interface, not a choice; name a class that implements it")
    return source


def _lineage(source: SourceClass) -> Iterator[SourceClass]:
    yield source
    for base in source.bases():
        yield from _lineage(base)


def parameters_of(source: SourceClass) -> dict[str, Parameter] | None:
    """The arguments of the nearest constructor: its own, a dataclass's fields, or a base's."""
    for statement in source.node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _arguments(statement.args, source)
    if _is_dataclass(source.node):
        return _fields(source)
    inherited = (parameters_of(base) for base in source.bases())
    return next((found for found in inherited if found is not None), None)


def _arguments(args: ast.arguments, source: SourceClass) -> dict[str, Parameter]:
    by_place = [*args.posonlyargs, *args.args]
    defaults: list[ast.expr | None] = [None] * (len(by_place) - len(args.defaults))
    pairs = [*zip(by_place, [*defaults, *args.defaults], strict=True)][1:]  # without self
    pairs += zip(args.kwonlyargs, args.kw_defaults, strict=True)
    return {arg.arg: _parameter(arg.annotation, default, source) for arg, default in pairs}


def _fields(source: SourceClass) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for base in reversed(list(source.bases())):
        found |= parameters_of(base) or {}
    for statement in source.node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                if not ast.unparse(annotation).startswith("ClassVar"):
                    found[name] = _parameter(annotation, value, source)
    return found


def _parameter(annotation: ast.expr | None, default: ast.expr | None, source: SourceClass) -> Parameter:
    kind = read_annotation(annotation, source.module) if annotation is not None else Wired
    if default is None:
        return Parameter(kind, required=True)
    try:
        return Parameter(kind, required=False, default=read_constant(default, source.module))
    except ValueError:
        return Parameter(kind, required=False, default=Unreadable)


def _is_dataclass(node: ast.ClassDef) -> bool:
    names = (
        decorator.func if isinstance(decorator, ast.Call) else decorator for decorator in node.decorator_list
    )
    return any(ast.unparse(name).rpartition(".")[2] == "dataclass" for name in names)
