"""What samples are asked to show, and what they are led away from."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from condiff.conditioners.conditioner import Conditioner
from condiff.config.build import build
from condiff.data.captions import TEXT, as_bytes, captions_of
from condiff.data.dataset import Batch, ShardDataset
from condiff.data.source import DataInfo
from condiff.diffusion.condition import Condition
from condiff.diffusion.guidance import Guidance
from condiff.errors import DataError
from condiff.stages.finished_adapters import hints_named
from condiff.stages.hints import given_hints
from condiff.stages.stage import Artifact, Config

CONTROL = "control"  # hints, 0..255
NEGATIVE = "negative"  # of a guidance: in the place of "not asked for", whatever its rule
_OF_TEXT = ("tokens", "token_mask", "pooled")


def asked(cfg: Config, data: Artifact, conditioner: Conditioner) -> dict[str, Tensor]:
    """What each sample is to show: ``label``, [N], the classes in turn; or what held-out pictures do.

    Of these, ``text``, [N, L] uint8, are captions, which ``captions_of`` reads; ``source``, [N, C, H, W] in
    [-1, 1], is what to change, ``label`` how, and ``target`` the answer; ``control``, [N, C, H, W] uint8, is
    a hint, and ``target`` the picture that it was made from. What the config names as ``text``, ``label`` or
    ``control`` is asked for in their place, a list in turn.
    """
    num, found = cfg["num_samples"], {}
    if conditioner.needs_source or conditioner.needs_text or conditioner.needs_control:
        held_out = ShardDataset(data.path, "held_out")
        batch = held_out.__getitems__([(0, place, place % len(held_out)) for place in range(num)])
        found["label"] = batch["label"] if "label" in batch else torch.zeros(num, dtype=torch.int64)
        if conditioner.needs_text:
            found[TEXT] = torch.from_numpy(as_bytes(batch["text"]))
        if conditioner.needs_source:
            found |= {"source": batch["source"], "target": batch["image"]}
        if conditioner.needs_control:
            found |= _hints(hints_named(cfg), batch, DataInfo.read(data.path), num)
    else:
        found["label"] = torch.arange(num) % max(1, DataInfo.read(data.path).num_classes)
    if cfg["label"] is not None:
        found["label"] = torch.tensor(in_turn(cfg["label"], range(num)))
    if cfg["text"] is not None:
        found[TEXT] = torch.from_numpy(as_bytes(in_turn(cfg["text"], range(num))))
    return found


def _hints(given: list[str], batch: Batch, info: DataInfo, num: int) -> dict[str, Tensor]:
    """Those that are given, several one after another; or else those of held-out pictures, and these, too."""
    if given:
        return {CONTROL: torch.cat([given_hints(path, info, num) for path in given], 1)}
    if "control" not in batch:
        raise DataError("control: is required, as the data has no hints; give a picture, or a folder of them")
    return {CONTROL: (batch["control"] * 255).round().to(torch.uint8), "target": batch["image"]}


def in_turn(given: Any, places: Iterable[int]) -> list[Any]:
    """What is given for samples at some places: one for all, or of several the next one each."""
    each = given if isinstance(given, list) else [given]
    return [each[place % len(each)] for place in places]


def condition_of(
    conditioner: Conditioner, part: Mapping[str, Tensor], first: int, guidance: Config
) -> Condition:
    """The condition of some samples, of which the first has this place among all.

    Where the guidance has a ``negative`` text, what they are led away from is that in the place of the null:
    one for all, or of several the one at a sample's place in turn.
    """
    given: dict[str, Any] = {**part}
    texts = captions_of(part)
    if texts is not None:
        given["text"] = texts
    cond = conditioner(given)
    negative = guidance.get(NEGATIVE)
    if not negative or cond.null is None:
        return cond
    places = range(first, first + len(part["label"]))
    other = conditioner({**given, "text": in_turn(negative, places)})
    return replace(cond, null=replace(cond.null, **{name: getattr(other, name) for name in _OF_TEXT}))


def built_guidance(node: Config) -> Guidance:
    return build({key: value for key, value in node.items() if key != NEGATIVE}, "guidance")
