"""What a base draws of the class of a subject, for its adapter not to forget it (Ruiz 2023, sec. 3.2)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from condiff.data.captions import captions_of
from condiff.data.dataset import ShardDataset
from condiff.data.prepare import members
from condiff.data.shards import FRAMING, ShardWriter
from condiff.data.source import DataInfo, Example
from condiff.stages import latents
from condiff.stages.denoiser import load_denoiser
from condiff.stages.pictures import as_stored
from condiff.stages.samples import drawn_with_bar
from condiff.stages.stage import Artifact, Config, Runtime

DRAWN = ("text", "label", "guidance", "sampler")  # what its config calls as that of samples does


@torch.no_grad()
def draw(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """Shards of samples of the base, each with the caption or the class that it was asked for."""
    own = cfg["prior"]
    trained = load_denoiser(inputs["denoiser"], inputs["data"], inputs.get("texts"))
    asked = {"seed": cfg["seed"], "num_samples": own["num"], **{key: own[key] for key in DRAWN}}
    found = drawn_with_bar(asked, inputs, trained, runtime, "prior")
    if runtime.ranks.leads:
        _write(as_stored(found), ShardDataset(inputs["data"].path, "train", held_bytes=0), out)


def encode(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """The moments of their latents, as ``latents`` has those of the data."""
    latents.encode(cfg, {"data": inputs["prior"], "autoencoder": inputs["autoencoder"]}, runtime, out)


def _write(drawn: Mapping[str, Tensor], beside: ShardDataset, out: Path) -> None:
    """With the fields of the data that they stand beside; a picture that was drawn is a whole one."""
    data = DataInfo.read(beside.folder)
    framing = (data.size, data.size, 0, 0, data.size, data.size) if beside.shards.has(FRAMING) else None
    images = np.moveaxis(drawn["image"].numpy(), 1, -1)
    texts = captions_of(drawn) or [None] * len(images)
    with ShardWriter(out, "train") as shards:
        for row, (image, text) in enumerate(zip(images, texts, strict=True)):
            key, pixels = f"prior-{row:06d}", image[..., 0] if data.channels == 1 else image
            example = Example(key, pixels, int(drawn["label"][row]), text, framing=framing)
            shards.write(key, members(example))
    replace(
        data,
        num_train=len(images),
        num_held_out=0,
        has_text=texts[0] is not None,
        source=f"{len(images):,} pictures that the base drew",
        left_out=[],
        unseen=[],
    ).write(out)
