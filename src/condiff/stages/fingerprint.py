"""What the code of a stage is, comments and docstrings apart.

A config hash alone goes stale the moment a network is edited; a hand-kept version number is
forgotten. So a stage's key also covers the syntax trees of the modules that it can reach.
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = __name__.partition(".")[0]
ROOT = Path(__file__).parents[1]
# What tells a user something, or decides whether and where a stage runs, does not change what it makes.
PLUMBING = (
    "condiff.errors",
    "condiff.progress",
    "condiff.interrupts",
    "condiff.callbacks.ranks",
    "condiff.config",
    "condiff.stages.ranks",
    "condiff.stages.stage",
    "condiff.stages.fingerprint",
)


@cache
def fingerprint(*modules: str) -> str:
    """A hash of these modules of the package and of all that they import from it."""
    digest = hashlib.sha256()
    for module in reached(*modules):
        digest.update(f"{module}:{_read(module)[1]}".encode())
    return digest.hexdigest()[:12]


def reached(*modules: str) -> list[str]:
    """These modules of the package and all that they import from it, sorted."""
    seen: set[str] = set()
    todo = [module for module in modules if _file(module)]
    while todo:
        module = todo.pop()
        if module not in seen and not module.startswith(PLUMBING):
            seen.add(module)
            todo += _read(module)[0]
    return sorted(seen)


def targets(node: Any) -> Iterator[str]:
    """The module of every ``_target_`` in a config."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node["_target_"].rpartition(".")[0]
        for child in node.values():
            yield from targets(child)
    elif isinstance(node, list):
        for child in node:
            yield from targets(child)


@cache
def _file(module: str) -> Path | None:
    first, *rest = module.split(".")
    path = ROOT.joinpath(*rest)
    found = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in found if file.is_file()), None) if first == PACKAGE else None


@cache
def _read(module: str) -> tuple[tuple[str, ...], str]:
    """What it imports from the package, and its syntax tree without docstrings: parsed once for both."""
    file = _file(module)
    assert file is not None
    names: list[str] = []
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return tuple(name for name in names if _file(name)), ast.dump(tree)
