"""What a DreamBooth was taught, for the page of its run: its subject and its class; no torch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from condiff.data.pictures import EXTENSIONS, decode
from condiff.data.shards import Shards
from condiff.reports.grid import grid
from condiff.reports.report import Figure, Panel
from condiff.stages.stage import Artifact

COLUMNS, SIDE = 8, 96  # pictures of a row, and their pixels


def taught_figure(done: Mapping[str, Artifact]) -> list[Figure]:
    """Of a study with pictures of the class; nothing elsewhere, whose data are larger than a row shows."""
    if "prior" not in done:
        return []
    subject, drawn = (_first(done[name].path) for name in ("data", "prior"))
    prior = done["prior"].manifest["config"]["prior"]
    rows = np.stack([*subject, *[np.full_like(subject[0], 255)] * (COLUMNS - len(subject)), *drawn])
    what = f'of "{prior["text"]}"' if prior["text"] is not None else f"of label {prior['label']}"
    caption = (
        f"Training pictures of the subject above some of the {prior['num']} that the base drew {what} to be"
        f" kept beside them, fitted to squares; all of these are in {done['prior'].path}."
    )
    picture = grid(rows, COLUMNS, row_labels=["subject", "prior"])
    return [Figure("What was taught", caption, [Panel("", picture)])]


def _first(folder: Path) -> list[np.ndarray]:
    """At most a row of training pictures, [SIDE, SIDE, 3] uint8."""
    shards = Shards.open(folder, "train")
    (kind, *_) = (extension for extension in EXTENSIONS if shards.has(extension))
    return [_fitted(shards.read(index, kind)) for index in range(min(COLUMNS, len(shards)))]


def _fitted(data: bytes) -> np.ndarray:
    image = decode(data).convert("RGB")
    how = Image.Resampling.NEAREST if max(image.size) < SIDE else Image.Resampling.LANCZOS
    return np.asarray(ImageOps.fit(image, (SIDE, SIDE), how))
