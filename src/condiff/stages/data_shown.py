"""The first pictures of shards with their hints and captions; no torch."""

from collections.abc import Mapping

import numpy as np

from condiff.data.pictures import decode
from condiff.data.sample import CONTROL
from condiff.data.shards import Shards
from condiff.data.source import DataInfo
from condiff.reports.captioned import captioned
from condiff.reports.report import Figure, Panel
from condiff.stages.stage import Artifact

MOST, COLUMNS = 20, 5
PARTS = ("png", CONTROL)


def data_figure(done: Mapping[str, Artifact]) -> list[Figure]:
    """Of a run that makes shards and no more; nothing where the pictures stay where they are."""
    if [*done] != ["data"]:
        return []
    path = done["data"].path
    split = next((name for name in ("train", "held_out") if any(path.glob(f"{name}-*.tar"))), None)
    if split is None:
        return []
    shards, info = Shards.open(path, split), DataInfo.read(path)
    if not len(shards):
        return []
    rows = [_beside(shards, index) for index in range(min(MOST, len(shards)))]
    same = [index for index, row in enumerate(rows) if row.shape == rows[0].shape]  # buckets have several
    words = [_words(shards, index, info) for index in same]
    shown = captioned(np.stack([rows[index] for index in same]), words, min(COLUMNS, len(same)))
    beside = " beside its hint and" if shards.has(CONTROL) else ""
    caption = f"The first of {split}, each{beside} above its caption."
    return [Figure("What is in these shards", caption, [Panel("", shown)])]


def _beside(shards: Shards, index: int) -> np.ndarray:
    """[H, W, 3], with its hint on its right, if any."""
    parts = [decode(shards.read(index, name)) for name in PARTS if shards.has(name)]
    return np.concatenate([np.asarray(part.convert("RGB")) for part in parts], axis=1)


def _words(shards: Shards, index: int, info: DataInfo) -> str:
    label = shards.labels[index]
    name = "" if label is None or not info.class_names else info.class_names[label]
    text = shards.read(index, "txt").decode() if shards.has("txt") else ""
    return ": ".join(filter(None, (name if name != text else "", text)))
