"""Train the denoiser, and the weaker one that autoguidance leads away from."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from condiff.conditioners.label import ClassLabel
from condiff.config.build import build
from condiff.data.dataset import ShardDataset
from condiff.data.source import DataInfo
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.variational import Likelihood, VariationalBound, density, levels
from condiff.files import read_json, write_json
from condiff.stages.latents import load_space
from condiff.stages.stage import KEPT, Artifact, Config, Runtime
from condiff.stages.training import fit, kept_weights, load_file_into, load_weights
from condiff.stages.untrained import is_given, take

SHAPE = "shape.json"
# A denoiser, what encodes its condition, and the shape [C, H, W] of x0.
Trained = tuple[NetworkDenoiser, ClassLabel, list[int]]


def train(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    source = inputs.get("latents", inputs["data"])
    data = ShardDataset(source.path, "train")
    shape, own = shape_of(data), _own(cfg)
    conditioner = build_conditioner(cfg, DataInfo.read(inputs["data"].path))
    denoiser = built_denoiser(cfg, conditioner, shape, density if "latents" in inputs else levels)
    write_json(out / SHAPE, shape)
    if is_given(own["network"]):
        take(denoiser.network, own["network"], network_path(cfg), runtime, out)
        return
    method = build(
        cfg["method"],
        "method",
        denoiser=denoiser,
        conditioner=conditioner,
        times=build(cfg["objective"]["times"], "objective.times"),
        weight=build(cfg["objective"]["weight"], "objective.weight"),
        optimizer=build(cfg["optimizer"], "optimizer"),
        training=build(own["trainer"], "trainer"),
        seed=cfg["seed"],
        space=load_space(inputs["latents"]) if "latents" in inputs else None,
    )
    if "weaker" in cfg:
        fit("weaker", method, data, runtime, out)
    else:
        trained = denoiser, conditioner, shape
        measure = runtime.watch and runtime.watch(trained)
        drawing = runtime.pictures and runtime.pictures.samples(trained)
        fit("denoiser", method, data, runtime, out, measure, drawing)


@lru_cache(KEPT)
def load_denoiser(artifact: Artifact, data: Artifact, step: int | None = None) -> Trained:
    """In evaluation mode, with the weights of the end or those kept at a step."""
    cfg, shape = artifact.manifest["config"], read_json(artifact.path / SHAPE)
    conditioner = build_conditioner(cfg, DataInfo.read(data.path))
    denoiser = built_denoiser(cfg, conditioner, shape)
    if step is None:
        load_weights(denoiser.network, artifact.path)
    else:
        load_file_into(denoiser.network, kept_weights(artifact.path, step))
    return denoiser.eval(), conditioner, shape


def build_conditioner(cfg: Config, info: DataInfo) -> ClassLabel:
    with_null = cfg["method"]["drop_condition"] > 0
    return build(cfg["conditioner"], "conditioner", num_classes=max(1, info.num_classes), with_null=with_null)


def built_denoiser(
    cfg: Config, conditioner: ClassLabel, shape: list[int], likelihood: Likelihood = levels
) -> NetworkDenoiser:
    """A denoiser as its training starts: the one place where network, process and parameterization meet."""
    network = built_network(cfg, conditioner, shape)
    process = build(cfg["process"], "process")
    parameterization = build(cfg["objective"]["parameterization"], "objective")
    return NetworkDenoiser(network, process, parameterization, VariationalBound(likelihood=likelihood))


def built_network(cfg: Config, conditioner: ClassLabel, shape: list[int]) -> nn.Module:
    """The network of a denoiser as its training starts, for x0 of this shape, [C, H, W]."""
    torch.manual_seed(cfg["seed"])
    channels, size, _ = shape
    stacked = conditioner.concat_channels(channels)
    return build(
        _own(cfg)["network"],
        network_path(cfg),
        channels=channels,
        size=size,
        num_labels=conditioner.num_labels,
        **({"concat_channels": stacked} if stacked else {}),
    )


def network_path(cfg: Config) -> str:
    """Where the config of the network is that this config trains."""
    return "weaker.network" if cfg.get("weaker", {}).get("network") is not None else "network"


def _own(cfg: Config) -> Config:
    """Its network and training: the weaker model shares all the rest with the denoiser."""
    own = cfg.get("weaker", cfg)
    return own if own["network"] is not None else {**own, "network": cfg["network"]}


def shape_of(data: ShardDataset) -> list[int]:
    """[C, H, W] of x0: of a picture, or of a latent, which has half the channels of its moments."""
    first = next(iter(data.chunks(1)))
    if "moments" in first:
        _, channels, height, width = first["moments"].shape
        return [channels // 2, height, width]
    return list(first["image"].shape[1:])
