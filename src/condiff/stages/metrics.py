"""Measure the samples against the data."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condiff.config.build import build
from condiff.config.signatures import signature_of
from condiff.data.dataset import ShardDataset
from condiff.evaluation.measurement import FeatureExtractor, Measurement
from condiff.files import write_json
from condiff.progress import track
from condiff.stages.device import device
from condiff.stages.judge import load_judge
from condiff.stages.pictures import from_uint8, load_pictures
from condiff.stages.stage import Artifact, Config, Runtime

BATCH = 250


@torch.inference_mode()
def measure(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """``metrics.json``: a value with its count, protocol and interval for each metric of the config."""
    place = device(runtime)
    judge = load_judge(inputs["judge"], inputs["data"]).to(place)
    offered = {"judge": judge, "extractor": _Once(judge)}
    metrics = {
        name: _built(node, f"metrics.{name}", offered).to(place) for name, node in cfg["metrics"].items()
    }
    sides = sorted({side for metric in metrics.values() for side in metric.sides})
    for side in track(sides, len(sides), "metrics"):
        for images, label in _pictures(side, inputs, place):
            for metric in metrics.values():
                if side in metric.sides:
                    metric.update(side, images, label)
    write_json(out / "metrics.json", {name: metric.report() for name, metric in metrics.items()})


class _Once:
    """A feature extractor that several metrics ask about the same pictures, and that looks once."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        self.extractor, self.name, self.feature_dim = extractor, extractor.name, extractor.feature_dim
        self.seen: Tensor | None = None

    def __call__(self, images: Tensor) -> Tensor:
        if self.seen is not images:
            self.seen, self.features = images, self.extractor(images)
        return self.features


def _built(node: Config, path: str, offered: Mapping[str, Any]) -> Measurement:
    """A metric with those of the offered objects that it asks for."""
    wants = signature_of(node["_target_"]).parameters
    return build(node, path, **{name: thing for name, thing in offered.items() if name in wants})


def _pictures(
    side: str, inputs: Mapping[str, Artifact], place: torch.device
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Images, [B, C, H, W] in [-1, 1], and labels, [B], of "samples", "train" or "held_out"."""
    if side == "samples":
        stored = load_pictures(inputs["samples"].path / "samples.safetensors")
        for first in range(0, len(stored["image"]), BATCH):
            part = slice(first, first + BATCH)
            yield from_uint8(stored["image"][part]).to(place), stored["label"][part].to(place)
    else:
        for batch in ShardDataset(inputs["data"].path, side).chunks(BATCH):
            yield batch["image"].to(place), batch["label"].to(place) if "label" in batch else None
