"""Train the classifier of noisy images, and see how well it does at each noise level."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from condiff.config.build import build
from condiff.data.dataset import ShardDataset
from condiff.data.source import DataInfo
from condiff.diffusion.process import Process
from condiff.diffusion.randomness import SampleNoise
from condiff.files import read_json, write_json
from condiff.networks.classifier import ImageClassifier
from condiff.stages.autoencoder import load_autoencoder
from condiff.stages.denoiser import SHAPE, shape_of
from condiff.stages.device import device
from condiff.stages.latents import drawn_once, load_space
from condiff.stages.splits import load_split
from condiff.stages.stage import KEPT, Artifact, Config, Runtime
from condiff.stages.untrained import is_given, take
from condiff.stages.weights import load_weights

if TYPE_CHECKING:
    from condiff.methods.noisy_classifier import NoisyClassifier

MOST = 5000  # held-out pictures that it is tested on
LEVELS = 10  # parts of the trajectory at whose middle it is tested
NAMES = tuple(f"accuracy_noise_{100 * i // LEVELS:02d}_{100 * (i + 1) // LEVELS:02d}" for i in range(LEVELS))


def train(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    from condiff.stages.training import fit  # noqa: PLC0415  lightning, which sampling does without

    data = load_split(inputs.get("latents", inputs["data"]), "train")
    info, node = DataInfo.read(inputs["data"].path), cfg["classifier"]["network"]
    shape, process = shape_of(data, info.size), build(cfg["process"], "process")
    classifier = built_classifier(cfg, shape, info.num_classes)
    write_json(out / SHAPE, shape)
    found: dict[str, Any] = {}

    def measure(network: nn.Module) -> dict[str, float]:
        if not runtime.ranks.leads:
            return {}
        found.update(_measured(network, process, inputs, runtime))
        return dict(zip(NAMES, found["accuracy"], strict=True))

    if is_given(node):
        take(classifier, node, "classifier.network", runtime, out)
        measure(classifier)
    else:
        method = _method(cfg, classifier, process, inputs)
        fit("classifier", method, data, runtime, out, measure, every=method.training_settings.steps)
    if runtime.ranks.leads:
        write_json(out / "classifier.json", found)


@lru_cache(KEPT)
def load_classifier(artifact: Artifact, data: Artifact) -> ImageClassifier:
    """The trained classifier, in evaluation mode and with no weight that asks for a gradient."""
    shape, classes = read_json(artifact.path / SHAPE), DataInfo.read(data.path).num_classes
    module = built_classifier(artifact.manifest["config"], shape, classes)
    load_weights(module, artifact.path)
    return module.eval().requires_grad_(False)


def built_classifier(cfg: Config, shape: list[int], num_classes: int) -> ImageClassifier:
    """As its training starts, for x0 of this shape, [C, H, W]."""
    torch.manual_seed(cfg["seed"])
    network, (channels, size, _) = cfg["classifier"]["network"], shape
    return build(network, "classifier.network", channels=channels, size=size, num_classes=num_classes)


def _method(
    cfg: Config, classifier: ImageClassifier, process: Process, inputs: Mapping[str, Artifact]
) -> "NoisyClassifier":
    own = cfg["classifier"]
    return build(
        own["method"],
        "classifier.method",
        classifier=classifier,
        process=process,
        optimizer=build(own["optimizer"], "classifier.optimizer"),
        training=build(own["trainer"], "classifier.trainer"),
        seed=cfg["seed"],
        space=load_space(inputs["latents"]) if "latents" in inputs else None,
    )


@torch.no_grad()
def _measured(
    classifier: nn.Module, process: Process, inputs: Mapping[str, Artifact], runtime: Runtime
) -> dict[str, Any]:
    """Accuracy on held-out pictures at the middle of each part of the trajectory, data first."""
    place = device(runtime)
    classifier.eval().to(place)
    right, count = torch.zeros(LEVELS), 0
    for x0, label in _held_out(inputs, place, runtime.sample_batch):
        noise = SampleNoise(0, range(count, count + len(x0)), place)
        eps = noise.normal(*x0.shape[1:])
        for level in range(LEVELS):
            u = torch.full((len(x0),), (level + 0.5) / LEVELS, dtype=torch.float64, device=place)
            x_t, m = process.perturb(x0, eps, process.training_time(u))
            right[level] += (classifier(x_t, m).argmax(1) == label).sum().cpu()
        count += len(x0)
    share = [(level + 0.5) / LEVELS for level in range(LEVELS)]
    return {"noise_left": share, "accuracy": [round(float(r) / count, 6) for r in right], "n": count}


def _held_out(
    inputs: Mapping[str, Artifact], place: torch.device, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """x0 as the denoiser knows it, pixels or latents, and labels of the held-out pictures."""
    autoencoder = space = None
    if "latents" in inputs:
        autoencoder = load_autoencoder(inputs["autoencoder"], inputs["data"]).to(place)
        space = load_space(inputs["latents"]).to(place)
    first = 0
    size = min(size, MOST)
    for batch in ShardDataset(inputs["data"].path, "held_out").chunks(size):
        x0, label = batch["image"].to(place), batch["label"].to(place)
        if autoencoder is not None and space is not None:
            x0 = space.normalise(drawn_once(autoencoder.encode(x0), first))
        first += len(label)
        yield x0, label
        if first >= MOST:
            return
