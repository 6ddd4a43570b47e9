"""Measure the samples against the data."""

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condiff.config.build import build
from condiff.config.signatures import signature_of
from condiff.data.dataset import ShardDataset
from condiff.errors import DataError
from condiff.evaluation.measurement import Measurement
from condiff.files import digest, write_json
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
    metrics = metrics_of(cfg["metrics"], inputs, place)
    take_in(metrics, {side for metric in metrics.values() for side in metric.sides}, inputs, place)
    write_json(out / "metrics.json", entries_of(metrics))


def metrics_of(nodes: Config, inputs: Mapping[str, Artifact], place: torch.device) -> dict[str, Measurement]:
    """The metrics of a config, with nothing taken in; what is no object there is no metric."""
    judge, own = _Once(load_judge(inputs["judge"], inputs["data"]).to(place)), {}
    named = {name: node for name, node in nodes.items() if isinstance(node, Mapping)}
    return {name: _built(node, f"metrics.{name}", judge, own).to(place) for name, node in named.items()}


def take_in(
    metrics: Mapping[str, Measurement], sides: Set[str], inputs: Mapping[str, Artifact], place: torch.device
) -> None:
    """Show these sets of pictures to the metrics that want to see them."""
    for side in track(sorted(sides), len(sides), "metrics"):
        if any(side in metric.sides for metric in metrics.values()):
            for images, label in _pictures(side, inputs, place):
                update(metrics, side, images, label)


def update(metrics: Mapping[str, Measurement], side: str, images: Tensor, label: Tensor | None) -> None:
    for name, metric in metrics.items():
        if side in metric.sides:
            with _told_of(name):
                metric.update(side, images, label)


def entries_of(metrics: Mapping[str, Measurement]) -> dict[str, Any]:
    """What they say, as it stands in metrics.json."""
    entries: dict[str, Any] = {}
    for name, metric in track(metrics.items(), len(metrics), "computing"):
        with _told_of(name):
            entries |= metric.entries(name)
    return entries


class _Once:
    """A network that several metrics ask about the same pictures, and that looks once."""

    def __init__(self, network: Any) -> None:
        self.network, self.name, self.feature_dim = network, network.name, network.feature_dim
        self.seen: Tensor | None = None

    def __call__(self, images: Tensor) -> Tensor:
        if self.seen is not images:
            self.seen, self.found = images, self.network(images)
        return self.found

    def logits(self, images: Tensor) -> Tensor:
        return self.network.head(self(images))

    def __deepcopy__(self, memo: Any) -> "_Once":
        return self  # metrics that are copied still look through one network


@contextmanager
def _told_of(name: str) -> Iterator[None]:
    """What a metric refuses to measure is told in one line."""
    try:
        yield
    except ValueError as error:
        raise DataError(f"metrics.{name}: {error}") from error


def _built(node: Config, path: str, judge: _Once, own: dict[str, Any]) -> Measurement:
    """A metric with the networks it asks for: its config's, each of them built once, or else the judge."""
    asked = [name for name in ("judge", "extractor") if name in signature_of(node["_target_"]).parameters]
    networks = {
        name: _network(node[name], f"{path}.{name}", own, _Once) if name in node else judge for name in asked
    }
    if "distance" in node:
        networks["distance"] = _network(node["distance"], f"{path}.distance", own, _itself)
    return build({key: value for key, value in node.items() if key not in networks}, path, **networks)


def _network(node: Config, path: str, own: dict[str, Any], shared: Callable[[Any], Any]) -> Any:
    key = digest(node)
    if key not in own:
        own[key] = shared(build(node, path))
    return own[key]


def _itself(distance: Any) -> Any:
    return distance  # no two metrics show it the same pairs


def _pictures(
    side: str, inputs: Mapping[str, Artifact], place: torch.device
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Images, [B, C, H, W] in [-1, 1], and labels, [B], of "samples", "train" or "held_out"."""
    if side == "samples":
        stored = load_pictures(inputs["samples"].path / "samples.safetensors")
        for images, label in zip(stored["image"].split(BATCH), stored["label"].split(BATCH), strict=True):
            yield from_uint8(images).to(place), label.to(place)
    else:
        for batch in ShardDataset(inputs["data"].path, side).chunks(BATCH):
            yield batch["image"].to(place), batch["label"].to(place) if "label" in batch else None
