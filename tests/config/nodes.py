"""Configs as plain values, and what the rules say of them."""

from typing import Any

from condiff.config.rules import RULES


def told(**cfg: Any) -> list[str]:
    return [line for rule in RULES for line in rule(cfg)]


def of(room: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": f"condiff.{room}.{name}", **arguments}
