"""The choices of conf/, as they stand in their files."""

from pathlib import Path
from typing import Any

import yaml

CONF = Path(__file__).parents[1] / "conf"


def choices(group: str) -> dict[str, dict[str, Any]]:
    """Each choice of a group by its name, but those put together from others, whose values alone are their own."""
    found = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CONF / group).glob("*.yaml"))}
    return {name: node for name, node in found.items() if "defaults" not in node}
