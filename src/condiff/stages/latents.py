"""Encode every training picture once, and measure what latents look like."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from condiff.autoencoders.space import ChannelMoments, LatentSpace, draw
from condiff.data.dataset import ShardDataset
from condiff.data.shards import ShardWriter, to_npy
from condiff.diffusion.randomness import SampleNoise
from condiff.files import written_whole
from condiff.progress import track
from condiff.stages.autoencoder import load_autoencoder
from condiff.stages.device import device
from condiff.stages.stage import Artifact, Config, Runtime

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
            count = len(moments)
            noise = SampleNoise(0, range(first, first + count), place, moments.dtype)
            seen.add(draw(moments, noise.normal(moments.shape[1] // 2, *moments.shape[2:])))
            first += count
            for i, key in enumerate(batch["key"]):
                label = {"cls": str(int(batch["label"][i])).encode()} if "label" in batch else {}
                writer.write(key, {"npy": to_npy(moments[i].cpu().numpy()), **label})
    space = seen.space()
    with written_whole(out / SPACE) as temporary:
        save_file({"mean": space.mean.cpu().contiguous(), "std": space.std.cpu().contiguous()}, temporary)


def load_space(artifact: Artifact) -> LatentSpace:
    stored = load_file(artifact.path / SPACE)
    return LatentSpace(stored["mean"], stored["std"])
