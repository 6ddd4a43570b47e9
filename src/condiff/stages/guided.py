"""By which rule samples were guided and how far, in words for a page; no torch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from condiff.config.nodes import argument, attribute, class_of
from condiff.config.origins import NEGATIVE
from condiff.reports.report import Guided, Scale


def guided(node: Mapping[str, Any]) -> Guided:
    """The rule with its scales, the rules inside it with theirs, and the words that it leads away from."""
    negative = node.get(NEGATIVE) or []
    return replace(_rule(node), negative=[negative] if isinstance(negative, str) else negative)


def _rule(node: Mapping[str, Any]) -> Guided:
    links = [_rule(link) for link in node.get("links", [])]
    if links:
        return Guided(
            ", then ".join(link.name for link in links), [scale for link in links for scale in link.scales]
        )
    if node.get("inner"):
        inner = _rule(node["inner"])
        return Guided(f"{class_of(node)} of {inner.name}", [*_scales(node), *inner.scales])
    return Guided(class_of(node), _scales(node))


def _scales(node: Mapping[str, Any]) -> list[Scale]:
    """The numbers of a node that its class calls scales; those of a schedule are one scale on its way."""
    if node.get("schedule"):
        inside = _scales(node["schedule"])
        values = [value for scale in inside for value in scale.values]
        return [Scale(values, course=class_of(node["schedule"]).lower())]
    names = attribute(node, "called_scales") or ("scale",)
    found = {name: argument(node, name) for name in names}
    return [
        Scale(value if isinstance(value, list) else [value], name.replace("_", " ") if names[1:] else "")
        for name, value in found.items()
        if value is not None
    ]
