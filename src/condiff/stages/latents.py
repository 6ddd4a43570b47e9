"""Encode every training picture once, and measure what latents look like."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from condiff.autoencoders.space import Autoencoder, ChannelMoments, LatentSpace, draw, mode
from condiff.data.dataset import ShardDataset
from condiff.data.shards import ShardWriter, to_npy
from condiff.diffusion.randomness import SampleNoise
from condiff.progress import track
from condiff.stages.autoencoder import load_autoencoder
from condiff.stages.device import device
from condiff.stages.stage import KEPT, Artifact, Config, Runtime
from condiff.stages.training import save_weights

SPACE = "space.safetensors"


@torch.no_grad()
def encode(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """Shards of moments, and the mean and standard deviation of each channel of a latent."""
    place = device(runtime)
    autoencoder = load_autoencoder(inputs["autoencoder"], inputs["data"]).to(place)
    data, seen = ShardDataset(inputs["data"].path, "train"), ChannelMoments()
    first = 0
    with ShardWriter(out, "train") as writer:
        for batch in track(data.chunks(250), -(-len(data) // 250), "latents"):
            moments = autoencoder.encode(batch["image"].to(place))
            seen.add(drawn_once(moments, first))
            first += len(moments)
            parts = {"npy": moments}
            if "source" in batch:
                parts["source.npy"] = encoded_source(autoencoder, batch["source"].to(place))
            for i, key in enumerate(batch["key"]):
                label = {"cls": str(int(batch["label"][i])).encode()} if "label" in batch else {}
                arrays = {name: to_npy(part[i].cpu().numpy()) for name, part in parts.items()}
                writer.write(key, {**arrays, **label})
    save_weights(out / SPACE, seen.space().state_dict())


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
