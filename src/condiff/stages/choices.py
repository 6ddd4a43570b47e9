"""The choices of ``conf/`` that finished runs took without naming them, by what stands in their configs."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from condiff.reports.runs import TARGET, Run, leaves

CONF = Path(__file__).parents[3] / "conf"  # beside run.py; where it is not there, classes give their names


def with_choices(run: Run, conf: Path = CONF) -> Run:
    """The run with the choice that each of its groups is of the classes of, and nearest to in its values."""
    groups = {key: node for key, node in run.config.items() if isinstance(node, Mapping) and TARGET in node}
    found = {group: choice for group, node in groups.items() if (choice := _nearest(conf / group, node))}
    return replace(run, resembles=found)


def _nearest(folder: Path, node: Mapping[str, Any]) -> str | None:
    """None where no choice has these classes, or several are as near."""
    own = dict(leaves(node, ""))
    apart = {
        name: sum(own.get(path) != other.get(path) for path in own.keys() | other.keys())
        for name, other in _files(folder).items()
        if _classes(other) == _classes(own)
    }
    least = [name for name, count in apart.items() if count == min(apart.values())]
    return least[0] if len(least) == 1 else None


@lru_cache
def _files(folder: Path) -> dict[str, dict[str, Any]]:
    """The values of each choice of a group by their paths, but of those put together from others."""
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        node = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(node, Mapping) and TARGET in node and "defaults" not in node:
            found[path.stem] = dict(leaves(node, ""))
    return found


def _classes(own: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in own.items() if path.endswith(TARGET)}
