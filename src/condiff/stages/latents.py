"""Encode every training picture once, and measure what latents look like."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from condiff.autoencoders.space import Autoencoder, ChannelMoments, LatentSpace, draw, mode
from condiff.data.dataset import ShardDataset
from condiff.data.npy import to_npy
from condiff.data.sample import CONTROL, FRAMING
from condiff.data.shards import ShardWriter
from condiff.diffusion.randomness import SampleNoise
from condiff.progress import track
from condiff.stages.autoencoder import load_autoencoder
from condiff.stages.device import device
from condiff.stages.ranks import share_of
from condiff.stages.splits import load_split
from condiff.stages.stage import KEPT, Artifact, Config, Runtime
from condiff.stages.weights import save_weights

SPACE = "space.safetensors"
_MOMENTS = {"npy", "mirror.npy"}  # of pictures as they are, and left for right


@torch.no_grad()
def encode(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """Shards of moments, and the mean and standard deviation of each channel of a latent, or what is stated.

    Ranks encode a share of every part, and the one that leads writes them in the order of the pictures: the
    shards, and what is measured over them, are the same however many there are.
    """
    place, ranks = device(runtime), runtime.ranks
    autoencoder = load_autoencoder(inputs["autoencoder"], inputs["data"]).to(place)
    data, seen = load_split(inputs["data"], "train"), ChannelMoments()
    with ExitStack() as stack:
        writer = stack.enter_context(ShardWriter(out, "train")) if ranks.leads else None
        parts = [part for run in data.runs for part in _parts(run, runtime.sample_batch * ranks.count)]
        for rows in track(parts, len(parts), "latents"):
            share = ranks.share(len(rows))
            own = rows[share.start : share.stop]
            found = _encoded(autoencoder, data, own or rows[:1], place)  # of an empty share only the shapes
            whole = {name: ranks.gathered(part[: len(own)], len(rows)) for name, part in found.items()}
            ranks.own_step()
            if writer is not None:
                for name in sorted(_MOMENTS & whole.keys()):
                    seen.add(drawn_once(whole[name], rows.start))
                _write(writer, data, rows, whole)
    if ranks.leads:
        save_weights(out / SPACE, (autoencoder.stated() or seen.space()).state_dict())


def _parts(run: range, most: int) -> list[range]:
    """A run in parts that differ by one at most; of one of few rows some ranks have no share."""
    num = -(-len(run) // most)
    shares = [share_of(k, num, len(run)) for k in range(num)]
    return [run[share.start : share.stop] for share in shares]


def _encoded(
    autoencoder: Autoencoder, data: ShardDataset, rows: range, place: torch.device
) -> dict[str, Tensor]:
    """By the extension of their member: moments, [B, 2 C', h, w], of pictures and perhaps of mirrored ones;
    and the latents of what is to be edited.
    """
    batch = data.__getitems__([(0, row, row) for row in rows])
    images = batch["image"].to(place)
    found = {"npy": autoencoder.encode(images).cpu()}
    if data.is_mirrored:
        found["mirror.npy"] = autoencoder.encode(images.flip(-1)).cpu()
    if "source" in batch:
        found["source.npy"] = encoded_source(autoencoder, batch["source"].to(place)).cpu()
    return found


def _write(writer: ShardWriter, data: ShardDataset, rows: range, whole: Mapping[str, Tensor]) -> None:
    """Each under the key of its picture, with its label, its caption, its hint and how it was cut."""
    for i, row in enumerate(rows):
        label = {} if data.labels is None else {"cls": str(int(data.labels[row])).encode()}
        text = {"txt": data.text(row).encode()} if data.has_text else {}
        arrays = {name: to_npy(part[i].numpy()) for name, part in whole.items()}
        kept = {name: data.shards.read(row, name) for name in (CONTROL, FRAMING) if data.shards.has(name)}
        writer.write(data.keys[row], {**arrays, **label, **text, **kept}, data.shards.samples[row].shape)


def encoded_source(autoencoder: Autoencoder, source: Tensor) -> Tensor:
    """Pictures to edit as a condition, [B, C', h, w]: the most likely latent, as the encoder gives it.

    Nothing is drawn and nothing normalised, unlike for x0 (as in InstructPix2Pix's published model).
    """
    return mode(autoencoder.encode(source))


def drawn_once(moments: Tensor, first: int) -> Tensor:
    """A latent of each picture, [B, C', h, w], the same each time; ``first`` is its place in the set."""
    noise = SampleNoise(0, range(first, first + len(moments)), moments.device, moments.dtype)
    return draw(moments, noise.normal(moments.shape[1] // 2, *moments.shape[2:]))


@lru_cache(KEPT)
def load_space(artifact: Artifact) -> LatentSpace:
    stored = load_file(artifact.path / SPACE)
    return LatentSpace(stored["mean"], stored["std"])
