"""What the metrics of a config will be called in a report, known before anything is measured."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from condiff.config.hints import nearest
from condiff.config.nodes import Config, at, attribute, words

FLOOR = "_floor"  # ends the name of what real data reaches, as in ``evaluation/measurement.py``
_OF_FEW = re.compile(r"_biased_n\d+")  # what a name says of too few pictures, known once they are counted


def reported(cfg: Config) -> list[str]:
    """The names of the numbers that a run will report, without what they say of too few pictures."""
    if not {"metrics", "evaluation"} & {*words(cfg.get("stages"))}:
        return []
    nodes = {name: node for name, node in at(cfg, "metrics").items() if isinstance(node, Mapping)}
    return [_part(name, added) for name, node in nodes.items() for added in _added(node)]


def short(name: str) -> str:
    """``fd_x`` for ``fd_x_biased_n180``."""
    return _OF_FEW.sub("", name)


def resolved(name: str, measured: Collection[str]) -> str | None:
    """The metric of that very name, or the one that it is short for; None where there is none."""
    if name in measured:
        return name
    meant = [known for known in measured if short(known) == name]
    return meant[0] if len(meant) == 1 else None


def no_such_metric(name: str, names: Collection[str]) -> str:
    """What is said of a name that no metric has."""
    parts = [known for known in names if known.startswith(f"{name}_") and not known.endswith(FLOOR)]
    hint = f"; it could be {' or '.join(parts)};" if parts else nearest(name, names) or ";"
    return f"no metric is called {name}{hint} there are {', '.join(names) or 'none'}"


def _added(node: Mapping[str, Any]) -> tuple[str, ...]:
    return attribute(node, "part_names") or ("",)


def _part(name: str, added: str) -> str:
    stem = name.removesuffix(FLOOR)
    return f"{stem}{added}{name[len(stem) :]}"
