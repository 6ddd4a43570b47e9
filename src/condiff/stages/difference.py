"""What tells an artifact that is wanted from those that are there, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from condiff.stages.stage import Config

NEVER = "never made before"


def difference(identity: Config, others: Sequence[Config]) -> str:
    """How this differs from the most similar artifact there is, if half of its settings are the same."""
    if not others:
        return NEVER
    mine = _leaves(identity)
    gaps = [
        {k for k in mine.keys() | its.keys() if mine.get(k) != its.get(k)} for its in map(_leaves, others)
    ]
    nearest = min(range(len(gaps)), key=lambda i: len(gaps[i]))
    its = _leaves(others[nearest])
    settings = {key for key in mine.keys() | its.keys() if key.startswith("config.")}
    if len(gaps[nearest] & settings) > max(2, len(settings) / 2):
        return NEVER  # that one is of another study
    parts = [_told(k, mine.get(k), its.get(k)) for k in sorted(gaps[nearest])]
    return "; ".join(parts[:2]) + (f"; and {len(parts) - 2} more" if len(parts) > 2 else "")


def _told(path: str, mine: Any, its: Any) -> str:
    kind, _, rest = path.partition(".")
    if kind == "inputs":
        return f"new {rest}"
    if kind == "source":
        return "the source's content has changed"
    return f"{rest}={mine} (cached: {its})"


def _leaves(identity: Config) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, Mapping):
            for name, child in node.items():
                walk(child, f"{path}.{name}".lstrip("."))
        else:
            found[path] = node

    walk({part: identity.get(part) for part in ("config", "inputs", "source")}, "")
    return found
