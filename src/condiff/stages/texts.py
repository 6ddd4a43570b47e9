"""Encode every caption once, before anything is trained on them."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from condiff.conditioners.conditioner import Conditioner
from condiff.config.build import build
from condiff.data.dataset import ShardDataset
from condiff.data.source import SPLITS, DataInfo
from condiff.errors import DataError
from condiff.stages.device import device
from condiff.stages.stage import Artifact, Config, Runtime

_SIDED = re.compile(r"\b(left|right)(most|wards?|-?hand(ed)?)?\b", re.IGNORECASE)


def encode(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """What the conditioner needs to know of the captions of all pictures, and of the empty one, its null.

    A caption is found again by its own words, so it can be given to no other picture. What is dropped is
    drawn after this, anew in every step.
    """
    info = DataInfo.read(inputs["data"].path)
    sets = [ShardDataset(inputs["data"].path, split, held_bytes=0) for split in SPLITS]
    training, others = ([data.text(row) for row in range(len(data))] for data in sets)
    if info.mirror:
        refuse_sided(training)
    conditioner = built_conditioner(cfg, info, with_null=True)
    conditioner.encode(training, others, out, device(runtime))


def built_conditioner(
    cfg: Config, info: DataInfo, with_null: bool, texts: Artifact | None = None
) -> Conditioner:
    """A conditioner that knows the captions of an artifact, if there is one."""
    conditioner = build(
        cfg["conditioner"], "conditioner", num_classes=max(1, info.num_classes), with_null=with_null
    )
    if texts is not None:
        conditioner.recall(texts.path)
    return conditioner


def refuse_sided(captions: Iterable[str]) -> None:
    """DataError where a caption would be wrong of its picture mirrored."""
    sided = next(filter(_SIDED.search, captions), None)
    if sided is not None:
        raise DataError(
            f"data.mirror: must be false where captions say left or right, as {sided!r} does, which is"
            " wrong of a mirrored picture; use data.mirror=false"
        )
