"""The networks of a study that see x_t, as their trainings start."""

from collections.abc import Callable, Collection
from typing import Any

from condiff.conditioners.conditioner import Conditioner
from condiff.stages.classifier import built_classifier
from condiff.stages.denoiser import built_network
from condiff.stages.stage import Config


def makers(
    cfg: Config, stages: Collection[str], conditioner: Conditioner, shape: list[int], num_classes: int
) -> dict[str, Callable[[], Any]]:
    """What makes the network of each of these stages that has one, for x0 of this shape, [C, H, W]."""
    own = {key: part for key, part in cfg.items() if key != "weaker"}
    every: dict[str, Callable[[], Any]] = {
        "denoiser": lambda: built_network(own, conditioner, shape),
        "weaker": lambda: built_network(cfg, conditioner, shape),
        "classifier": lambda: built_classifier(cfg, shape, num_classes),
    }
    return {name: make for name, make in every.items() if name in stages}
