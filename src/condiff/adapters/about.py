"""What the header of an adapter's file says of it in every format: rank, alpha, targets, base, trigger."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from condiff.adapters.adapter import Adapter

KEY = "condiff_adapter"
_PHRASE = "modelspec.trigger_phrase"  # of the specification of headers that Stability AI and kohya follow


def header_of(adapter: Adapter) -> dict[str, str]:
    """rank and alpha are lists of all that occur; targets are the layers by the last words of their names."""
    layers = adapter.layers.values()
    said = {
        "rank": sorted({layer.rank for layer in layers}),
        "alpha": sorted({layer.alpha for layer in layers}),
        "targets": sorted({_kind(name) for name in adapter.layers}),
        "layers": len(adapter.layers),
        "base": dict(adapter.base),
        "trigger": list(adapter.trigger),
    }
    return {KEY: json.dumps(said, sort_keys=True), **phrase_of(adapter.trigger)}


def phrase_of(trigger: Sequence[str]) -> dict[str, str]:
    """The words that call it up, as programs show them; nothing of none."""
    return {_PHRASE: ", ".join(trigger)} if trigger else {}


def told(header: Mapping[str, str], what: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Base and trigger as a header says them; a foreign one may know the trigger, in one phrase."""
    if KEY not in header:
        phrase = header.get(_PHRASE, "").strip()
        return {}, (phrase,) if phrase else ()
    said = parsed(header[KEY], f"{what}: {KEY}")
    base, trigger = said.get("base", {}), said.get("trigger", [])
    if not isinstance(base, dict) or not isinstance(trigger, list):
        raise ValueError(f"{what}: {KEY} in its header has no base and trigger that can be read")
    return {part: str(digest) for part, digest in base.items()}, tuple(str(word) for word in trigger)


def check_told(adapter: Adapter, header: Mapping[str, str], what: str) -> None:
    """ValueError if the header counts other layers or ranks than there are."""
    if KEY not in header:
        return
    said = parsed(header[KEY], f"{what}: {KEY}")
    ranks = sorted({layer.rank for layer in adapter.layers.values()})
    if said.get("layers") != len(adapter.layers):
        raise ValueError(
            f"{what}: it has {len(adapter.layers)} of the {said.get('layers')} layers that its header counts;"
            " copy it again"
        )
    if said.get("rank") != ranks:
        raise ValueError(f"{what}: its layers are of rank {ranks}, its header says {said.get('rank')}")


def parsed(text: str, what: str) -> Mapping[str, Any]:
    """A JSON object; ValueError that starts with ``what`` where the text is none."""
    try:
        said = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{what} in its header cannot be read ({error})") from error
    if not isinstance(said, dict):
        raise ValueError(f"{what} in its header must be settings by name")
    return said


def _kind(name: str) -> str:
    """``to_out.0`` of ``unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0``."""
    steps = name.split(".")[1:]
    last = next((place for place in range(len(steps) - 1, -1, -1) if not steps[place].isdigit()), 0)
    return ".".join(steps[last:])
