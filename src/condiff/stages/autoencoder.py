"""Train the first stage of a latent study."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from torch.nn.functional import mse_loss

from condiff.autoencoders.space import Autoencoder
from condiff.config.build import build
from condiff.data.dataset import ShardDataset
from condiff.data.source import DataInfo
from condiff.files import write_json
from condiff.methods.first_stage import psnr
from condiff.stages.device import device
from condiff.stages.pictures import save_pictures
from condiff.stages.stage import KEPT, Artifact, Config, Runtime
from condiff.stages.training import fit, load_weights

SHOWN = 10


def train(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    folder, own = inputs["data"].path, cfg["autoencoder"]
    autoencoder = _built(own, DataInfo.read(folder), cfg["seed"])
    method = build(
        own["method"],
        "autoencoder.method",
        autoencoder=autoencoder,
        optimizer=build(own["optimizer"], "autoencoder.optimizer"),
        training=build(own["trainer"], "autoencoder.trainer"),
        seed=cfg["seed"],
    )
    drawing = runtime.pictures and runtime.pictures.reconstructions(inputs["data"])
    fit("autoencoder", method, ShardDataset(folder, "train"), runtime, out, drawing=drawing)
    if not runtime.ranks.leads:
        return
    load_weights(autoencoder, out)
    _measure(autoencoder.to(device(runtime)), ShardDataset(folder, "held_out"), runtime, out)


@lru_cache(KEPT)
def load_autoencoder(artifact: Artifact, data: Artifact) -> Autoencoder:
    """The trained autoencoder, in evaluation mode."""
    config = artifact.manifest["config"]
    module = _built(config["autoencoder"], DataInfo.read(data.path), config["seed"])
    load_weights(module, artifact.path)
    return module.eval()


def _built(own: Config, info: DataInfo, seed: int) -> Autoencoder:
    torch.manual_seed(seed)
    return build(own["network"], "autoencoder.network", channels=info.channels)


@torch.no_grad()
def _measure(autoencoder: Autoencoder, held_out: ShardDataset, runtime: Runtime, out: Path) -> None:
    """PSNR on held-out pictures, and some of them with their reconstructions above one another."""
    autoencoder.eval()
    square, shown = 0.0, []
    for batch in held_out.chunks(250):
        images = batch["image"].to(device(runtime))
        mean, _ = autoencoder.encode(images).chunk(2, dim=1)
        decoded = autoencoder.decode(mean).clamp(-1, 1)
        square += float(mse_loss(decoded, images)) * len(images)
        shown = shown or [images[:SHOWN], decoded[:SHOWN]]
    value = float(psnr(torch.tensor(square / len(held_out))))
    write_json(out / "autoencoder.json", {"held_out_psnr": value, "n": len(held_out)})
    save_pictures(out / "reconstructions.safetensors", {"image": torch.cat(shown)})
