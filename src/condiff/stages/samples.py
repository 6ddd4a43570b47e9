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
from condiff.stages.denoiser import Trained, load_denoiser
from condiff.stages.device import device
from condiff.stages.latents import load_space
from condiff.stages.pictures import save_pictures
from condiff.stages.stage import Artifact, Config, Runtime

BATCH = 250  # samples at a time; which ones go together changes none of them


@torch.no_grad()  # not inference_mode: a classifier guides by its gradient
def draw(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """``samples.safetensors``: classes in turn, the same noise for sample i under every guidance."""
    trained = load_denoiser(inputs["denoiser"], inputs["data"])
    steps = -(-cfg["num_samples"] // BATCH) * build(cfg["sampler"], "sampler").steps
    with bar(steps, "samples") as shown:
        images, label = drawn(cfg, inputs, trained, device(runtime), shown.update)
    save_pictures(out / "samples.safetensors", images, label)


def drawn(
    cfg: Config,
    inputs: Mapping[str, Artifact],
    trained: Trained,
    place: torch.device,
    say: Callable[[], object] = lambda: None,
) -> tuple[Tensor, Tensor]:
    """Images, [N, C, H, W] in [-1, 1], and their labels, [N]; ``say`` is called at every step."""
    denoiser, conditioner, shape = trained
    guided = build(cfg["guidance"], "guidance")(_models(denoiser, inputs, place))
    sampler, decode = build(cfg["sampler"], "sampler"), _decoder(inputs, place)
    label = torch.arange(cfg["num_samples"]) % max(1, DataInfo.read(inputs["data"].path).num_classes)
    images = []
    for i, part in enumerate(label.split(BATCH)):
        rng = SampleNoise(cfg["seed"], range(i * BATCH, i * BATCH + len(part)), place, torch.float32)
        cond = conditioner({"label": part.to(place)})
        x0 = sampler(guided, rng.normal(*shape), cond, rng, lambda _: say())
        images.append(decode(x0).cpu())
    return torch.cat(images), label


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
