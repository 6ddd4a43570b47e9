"""The choices of conf/."""

from pathlib import Path
from typing import Any

import yaml

CONF = Path(__file__).parents[1] / "conf"


def choices(group: str) -> dict[str, dict[str, Any]]:
    """Each choice of a group by its name, with what it takes over from others of the group."""
    found = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CONF / group).glob("*.yaml"))}

    def whole(node: dict[str, Any]) -> dict[str, Any]:
        own = dict(node)
        for name in own.pop("defaults", []):
            own = {**whole(found[name]), **own} if name in found else own
        return own

    return {name: whole(node) for name, node in found.items()}
