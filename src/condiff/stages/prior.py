"""What a base draws of the class of a subject, for its adapter not to forget it (Ruiz 2023, sec. 3.2)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from condiff.data.captions import captions_of
from condiff.data.dataset import ShardDataset
from condiff.data.prepare import members, shape_of
from condiff.data.sample import FRAMING
from condiff.data.shards import ShardWriter
from condiff.data.source import DataInfo, Example
from condiff.diffusion.randomness import step_seed
from condiff.stages import latents
from condiff.stages.denoiser import Trained, load_denoiser
from condiff.stages.pictures import as_stored
from condiff.stages.samples import drawn_with_bar
from condiff.stages.stage import Artifact, Config, Runtime

DRAWN = ("text", "label", "guidance", "sampler")  # what its config calls as that of samples does


@torch.no_grad()
def draw(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """Shards of samples of the base, each with the caption or the class that it was asked for.

    They have the shapes of the data, as a batch is of one: in about their shares, and of each one at least.
    """
    own, data = cfg["prior"], ShardDataset(inputs["data"].path, "train", held_bytes=0)
    trained = load_denoiser(inputs["denoiser"], inputs["data"], inputs.get("texts"))
    # What an adapter is held to has other noises than what it is measured by.
    seed = step_seed(cfg["seed"], 0, "prior")
    asked = {"seed": seed, "sample_precision": cfg["sample_precision"], **{key: own[key] for key in DRAWN}}
    found: list[Mapping[str, Tensor]] = []
    for run, shape in zip(data.runs, data.shapes, strict=True):
        num = max(1, round(own["num"] * len(run) / len(data)))
        shaped = _shaped(trained, shape, DataInfo.read(data.folder).size)
        drawn = drawn_with_bar({**asked, "num_samples": num}, inputs, shaped, runtime, "prior")
        found.append(as_stored(drawn))
    if runtime.ranks.leads:
        _write(found, data, out)


def _shaped(trained: Trained, shape: tuple[int, int] | None, size: int) -> Trained:
    """What draws pictures of this height and width, or squares of ``size``."""
    denoiser, conditioner, (channels, *sides) = trained
    wanted = shape or (size, size)
    scaled = (side * pixels // size for side, pixels in zip(sides, wanted, strict=True))
    return denoiser, conditioner, [channels, *scaled]


def encode(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """The moments of their latents, as ``latents`` has those of the data."""
    latents.encode(cfg, {"data": inputs["prior"], "autoencoder": inputs["autoencoder"]}, runtime, out)


def _write(drawn: Sequence[Mapping[str, Tensor]], beside: ShardDataset, out: Path) -> None:
    """With the fields of the data that they stand beside."""
    data, is_framed = DataInfo.read(beside.folder), beside.shards.has(FRAMING)
    examples = [example for some in drawn for example in _examples(some, data.channels, is_framed)]
    with ShardWriter(out, "train") as shards:
        for row, example in enumerate(examples):
            shards.write(f"prior-{row:06d}", members(example), shape_of(example.image))
    replace(
        data,
        num_train=len(examples),
        num_held_out=0,
        has_text=examples[0].text is not None,
        source=f"{len(examples):,} pictures that the base drew",
        left_out=[],
        unseen=[],
    ).write(out)


def _examples(drawn: Mapping[str, Tensor], channels: int, is_framed: bool) -> Iterator[Example]:
    """A picture that was drawn is a whole one."""
    images = np.moveaxis(drawn["image"].numpy(), 1, -1)
    height, width = images.shape[1:3]
    framing = (height, width, 0, 0, height, width) if is_framed else None
    for row, text in enumerate(captions_of(drawn) or [None] * len(images)):
        pixels = images[row, ..., 0] if channels == 1 else images[row]
        yield Example("", pixels, int(drawn["label"][row]), text, framing=framing)
