"""The choices of conf/, as they stand in their files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

CONF = Path(__file__).parents[1] / "conf"


def choices(group: str) -> dict[str, dict[str, Any]]:
    """Each choice of a group by its name, without those put together from others."""
    found = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CONF / group).glob("*.yaml"))}
    return {name: node for name, node in found.items() if "defaults" not in node}


def some_by_default(names: Iterable[str], *default: str) -> list[Any]:
    """Parameters of a test of all names, of which the others are slow."""
    assert set(default) <= {*names}
    return [pytest.param(name, marks=() if name in default else pytest.mark.slow) for name in names]
