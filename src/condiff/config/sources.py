"""Python modules read as text: what they define, without running them.

The config is checked before torch is imported, so a class is known here by its source.
"""

import ast
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """A module's top level: its classes, its constants and where its imported names come from."""

    name: str
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> (module, name there)


@dataclass(frozen=True, slots=True, eq=False)
class SourceClass:
    """A class and the module in which its names mean something."""

    module: Module
    node: ast.ClassDef

    @property
    def name(self) -> str:
        return self.node.name

    def bases(self) -> Iterator["SourceClass"]:
        """The bases in the same package; others (``nn.Module``) say nothing about arguments."""
        for base in self.node.bases:
            expression = base.value if isinstance(base, ast.Subscript) else base
            if isinstance(expression, ast.Name):
                found = find_class(self.module, expression.id)
                if found is not None and _top(found.module) == _top(self.module):
                    yield found

    def base_names(self) -> set[str]:
        """The last word of each base as it is written: ``Protocol`` for ``Protocol[T]``."""
        expressions = (base.value if isinstance(base, ast.Subscript) else base for base in self.node.bases)
        return {ast.unparse(expression).rpartition(".")[2] for expression in expressions}


@functools.cache
def read_module(name: str) -> Module | None:
    """The module of that dotted name, or None where it has no source file."""
    path = _file(name)
    if path is None:
        return None
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return parse_module(name, package, path.read_text(encoding="utf-8"))


def parse_module(name: str, package: str, text: str) -> Module:
    module = Module(name)
    for statement in _statements(ast.parse(text).body):
        _take(statement, module, package)
    return module


def find_class(module: Module, name: str) -> SourceClass | None:
    """The class a name stands for in a module, followed through ``from x import y as z``."""
    seen: set[tuple[str, str]] = set()
    while (module.name, name) not in seen:
        seen.add((module.name, name))
        if name in module.classes:
            return SourceClass(module, module.classes[name])
        if name not in module.imports:
            return None
        origin, name = module.imports[name]
        found = read_module(origin)
        if found is None:
            return None
        module = found
    return None


def _top(module: Module) -> str:
    return module.name.split(".", maxsplit=1)[0]


def _file(name: str) -> Path | None:
    """Only where the top-level package lies is asked of Python, and that imports nothing."""
    top, *rest = name.split(".")
    loaded = sys.modules.get(top)
    spec = PathFinder.find_spec(top) if loaded is None else loaded.__spec__
    for location in (spec.submodule_search_locations if spec is not None else None) or ():
        path = Path(location, *rest)
        for candidate in (path / "__init__.py", path.with_suffix(".py") if rest else path):
            if candidate.is_file():
                return candidate
    return None


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Top-level statements, those under ``if TYPE_CHECKING:`` and ``try:`` included."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try):
            yield from _statements(statement.body)


def _take(statement: ast.stmt, module: Module, package: str) -> None:
    match statement:
        case ast.ClassDef(name=name):
            module.classes[name] = statement
        case ast.ImportFrom(module=origin, names=names, level=level):
            parts = package.split(".")[: len(package.split(".")) - level + 1] if level else []
            source = ".".join([*parts, *([origin] if origin else [])])
            module.imports.update({alias.asname or alias.name: (source, alias.name) for alias in names})
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            module.constants[name] = value
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            module.constants[name] = value
