"""Train the first stage of a latent study."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from torch.nn.functional import mse_loss

from condiff.autoencoders.codebook import perplexity, used
from condiff.autoencoders.space import Autoencoder, is_certain, mode
from condiff.config.build import build
from condiff.data.dataset import ShardDataset
from condiff.data.source import DataInfo
from condiff.errors import ConfigError
from condiff.files import write_json
from condiff.stages.device import device
from condiff.stages.pictures import save_pictures
from condiff.stages.splits import load_split
from condiff.stages.stage import KEPT, Artifact, Config, Runtime
from condiff.stages.untrained import is_given, take
from condiff.stages.weights import load_weights

SHOWN = 10


def train(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    from condiff.stages.training import fit  # noqa: PLC0415  lightning, which sampling does without

    folder, own = inputs["data"].path, cfg["autoencoder"]
    info = DataInfo.read(folder)
    autoencoder = _built(own, info, cfg["seed"])
    if is_given(own["network"]):
        take(autoencoder, own["network"], "autoencoder.network", runtime, out)
        if runtime.ranks.leads:
            autoencoder.leave(out)
            _measure(autoencoder.to(device(runtime)), ShardDataset(folder, "held_out"), runtime, out)
        return
    method = build(
        own["method"],
        "autoencoder.method",
        autoencoder=autoencoder,
        optimizer=build(own["optimizer"], "autoencoder.optimizer"),
        training=build(own["trainer"], "autoencoder.trainer"),
        seed=cfg["seed"],
    )
    if method.adversary is not None and info.size < (least := method.adversary.discriminator.smallest):
        halvings = own["method"]["adversary"]["halvings"]
        raise ConfigError(
            f"autoencoder.method.adversary.halvings: {halvings} needs pictures of at least {least} pixels"
            f" a side, and these have {info.size}; use fewer, or autoencoder.method.adversary=null"
        )
    drawing = runtime.pictures and runtime.pictures.reconstructions(inputs["data"])
    fit("autoencoder", method, load_split(inputs["data"], "train"), runtime, out, drawing=drawing)
    if not runtime.ranks.leads:
        return
    load_weights(autoencoder, out)
    _measure(autoencoder.to(device(runtime)), ShardDataset(folder, "held_out"), runtime, out)


@lru_cache(KEPT)
def load_autoencoder(artifact: Artifact, data: Artifact) -> Autoencoder:
    """The trained autoencoder, in evaluation mode; one that was given is read from the artifact alone."""
    config = artifact.manifest["config"]
    own = config["autoencoder"]
    if is_given(own["network"]):
        own = {**own, "network": {**own["network"], "weights": str(artifact.path)}}
    module = _built(own, DataInfo.read(data.path), config["seed"])
    load_weights(module, artifact.path)
    return module.eval()


def _built(own: Config, info: DataInfo, seed: int) -> Autoencoder:
    torch.manual_seed(seed)
    return build(own["network"], "autoencoder.network", channels=info.channels)


@torch.no_grad()
def _measure(autoencoder: Autoencoder, held_out: ShardDataset, runtime: Runtime, out: Path) -> None:
    """How well held-out pictures come back, what their latents cost, and some above what they become."""
    from condiff.methods.autoencoder import kl  # noqa: PLC0415  lightning, as above
    from condiff.methods.first_stage import psnr  # noqa: PLC0415

    autoencoder.eval()
    square, divergence, counts, shown = 0.0, 0.0, torch.zeros(1), []
    codebook = autoencoder.codes()
    for batch in held_out.chunks(runtime.sample_batch):
        images = batch["image"].to(device(runtime))
        moments = autoencoder.encode(images)
        decoded = autoencoder.decode(mode(moments)).clamp(-1, 1)
        square += float(mse_loss(decoded, images)) * len(images)
        if not is_certain(moments):
            divergence += float(kl(moments).mean()) * len(images)
        if codebook is not None:
            codes = codebook.nearest(mode(moments)).flatten()
            counts = counts + torch.bincount(codes, minlength=codebook.num_codes).cpu()
        shown = shown or [images[:SHOWN], decoded[:SHOWN]]
    found: dict[str, float] = {"held_out_psnr": float(psnr(torch.tensor(square / len(held_out))))}
    if codebook is not None:
        found |= {
            "codes": codebook.num_codes,
            "codes_used": float(used(counts)),
            "perplexity": float(perplexity(counts)),
        }
    elif divergence:
        found["kl_per_dimension"] = divergence / len(held_out)
    write_json(out / "autoencoder.json", {**found, "n": len(held_out)})
    save_pictures(out / "reconstructions.safetensors", {"image": torch.cat(shown)})
