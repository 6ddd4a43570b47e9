"""The choices of conf/, as they stand in their files."""

from pathlib import Path
from typing import Any

import yaml

CONF = Path(__file__).parents[1] / "conf"


def choices(group: str) -> dict[str, dict[str, Any]]:
    """Each choice of a group by its name."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CONF / group).glob("*.yaml"))}
