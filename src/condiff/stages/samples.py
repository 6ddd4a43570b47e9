"""Draw samples with the trained denoiser, a guidance and a sampler."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from condiff.config.build import build
from condiff.data.source import DataInfo
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.guidance import Models
from condiff.diffusion.randomness import SampleNoise
from condiff.progress import bar
from condiff.stages.autoencoder import load_autoencoder
from condiff.stages.classifier import load_classifier
from condiff.stages.denoiser import load_denoiser
from condiff.stages.device import device
from condiff.stages.latents import load_space
from condiff.stages.pictures import save_pictures
from condiff.stages.stage import Artifact, Config, Runtime

BATCH = 250  # samples at a time; which ones go together changes none of them


@torch.no_grad()  # not inference_mode: a classifier guides by its gradient
def draw(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """``samples.safetensors``: classes in turn, the same noise for sample i under every guidance."""
    place = device(runtime)
    denoiser, conditioner, shape = load_denoiser(inputs["denoiser"], inputs["data"])
    guided = build(cfg["guidance"], "guidance")(_models(denoiser, inputs, place))
    sampler = build(cfg["sampler"], "sampler")
    decode = _decoder(inputs, place)
    label = torch.arange(cfg["num_samples"]) % max(1, DataInfo.read(inputs["data"].path).num_classes)
    parts = label.split(BATCH)
    images = []
    with bar(len(parts) * sampler.steps, "samples") as shown:
        for i, part in enumerate(parts):
            rng = SampleNoise(cfg["seed"], range(i * BATCH, i * BATCH + len(part)), place, torch.float32)
            cond = conditioner({"label": part.to(place)})
            x0 = sampler(guided, rng.normal(*shape), cond, rng, lambda _: shown.update())
            images.append(decode(x0).cpu())
    save_pictures(out / "samples.safetensors", torch.cat(images), label)


def _models(denoiser: NetworkDenoiser, inputs: Mapping[str, Artifact], place: torch.device) -> Models:
    """The denoiser and what this study has trained beside it."""
    classifier = weaker = None
    if "classifier" in inputs:
        classifier = load_classifier(inputs["classifier"], inputs["data"]).to(place).log_probability
    if "weaker" in inputs:
        weaker = load_denoiser(inputs["weaker"], inputs["data"])[0].to(place)
    return Models(denoiser.to(place), classifier, weaker)


def _decoder(inputs: Mapping[str, Artifact], place: torch.device) -> Callable[[Tensor], Tensor]:
    """From what the sampler gives to images, [B, C, H, W] in [-1, 1]."""
    if "latents" not in inputs:
        return lambda x0: x0
    autoencoder = load_autoencoder(inputs["autoencoder"], inputs["data"]).to(place)
    space = load_space(inputs["latents"]).to(place)
    return lambda x0: autoencoder.decode(space.restore(x0))
