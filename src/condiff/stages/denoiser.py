"""Train the denoiser, and the weaker one that autoguidance leads away from."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from condiff.conditioners.conditioner import Conditioner
from condiff.config.build import build
from condiff.config.nodes import attribute
from condiff.data.dataset import ShardDataset
from condiff.data.source import DataInfo
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.variational import Likelihood, VariationalBound, density, levels
from condiff.files import read_json, write_json
from condiff.stages.latents import load_space
from condiff.stages.splits import load_split
from condiff.stages.stage import KEPT, Artifact, Config, Runtime
from condiff.stages.texts import built_conditioner
from condiff.stages.untrained import is_given, take
from condiff.stages.weights import load_chosen

SHAPE = "shape.json"
# A denoiser, what encodes its condition, and the shape [C, H, W] of x0.
Trained = tuple[NetworkDenoiser, Conditioner, list[int]]


def train(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    from condiff.stages.training import fit  # noqa: PLC0415  lightning, which sampling does without

    source = inputs.get("latents", inputs["data"])
    data = load_split(source, "train")
    info, own = DataInfo.read(inputs["data"].path), _own(cfg)
    shape, conditioner = shape_of(data, info.size), build_conditioner(cfg, info, inputs.get("texts"))
    denoiser = built_denoiser(cfg, conditioner, shape, density if "latents" in inputs else levels)
    write_json(out / SHAPE, shape)
    if runtime.ranks.leads:
        conditioner.leave(out)
    if is_given(own["network"]):
        take(denoiser.network, own["network"], network_path(cfg), runtime, out)
        if runtime.ranks.leads and attribute(own["network"], "takes_folder"):
            cast(Any, denoiser.network).leave(out)
        return
    trained = denoiser, conditioner, shape
    method = built_method(cfg, {**cfg, "trainer": own["trainer"]}, "", trained, inputs.get("latents"))
    if "weaker" in cfg:
        fit("weaker", method, data, runtime, out)
    else:
        measure = runtime.watch and runtime.watch.of("denoiser", trained)
        drawing = runtime.pictures and runtime.pictures.samples(trained)
        fit("denoiser", method, data, runtime, out, measure, drawing)


def built_method(cfg: Config, own: Config, prefix: str, trained: Trained, latents: Artifact | None) -> Any:
    """What trains a denoiser: by the method, optimizer and trainer of ``own``, which the config has under
    ``prefix``, and by the objective and the seed of the study.
    """
    denoiser, conditioner, _ = trained
    return build(
        own["method"],
        f"{prefix}method",
        denoiser=denoiser,
        conditioner=conditioner,
        times=build(cfg["objective"]["times"], "objective.times"),
        weight=build(cfg["objective"]["weight"], "objective.weight"),
        optimizer=build(own["optimizer"], f"{prefix}optimizer"),
        training=build(own["trainer"], f"{prefix}trainer"),
        seed=cfg["seed"],
        space=None if latents is None else load_space(latents),
    )


@lru_cache(KEPT)
def load_denoiser(
    artifact: Artifact,
    data: Artifact,
    texts: Artifact | None = None,
    step: int | None = None,
    average: float | str | None = None,
) -> Trained:
    """``read_denoiser``, kept for the next one who asks."""
    return read_denoiser(artifact, data, texts, step, average)


def read_denoiser(
    artifact: Artifact,
    data: Artifact,
    texts: Artifact | None = None,
    step: int | None = None,
    average: float | str | None = None,
) -> Trained:
    """In evaluation mode, with the weights that ``load_chosen`` says."""
    cfg, shape = as_left(artifact), read_json(artifact.path / SHAPE)
    conditioner = build_conditioner(cfg, DataInfo.read(data.path), texts)
    conditioner.heed(artifact.path)
    denoiser = built_denoiser(cfg, conditioner, shape)
    load_chosen(denoiser.network, artifact.path, step, average)
    return denoiser.eval(), conditioner, shape


def as_left(artifact: Artifact) -> Config:
    """Its config, in which a network that was given in a folder is read from the artifact alone."""
    cfg: dict[str, Any] = {**artifact.manifest["config"]}
    place = "weaker" if network_path(cfg) == "weaker.network" else None
    node = cfg[place]["network"] if place else cfg["network"]
    if is_given(node) and attribute(node, "takes_folder"):
        node = {**node, "weights": str(artifact.path)}
        cfg = {**cfg, place: {**cfg[place], "network": node}} if place else {**cfg, "network": node}
    return cfg


def build_conditioner(cfg: Config, info: DataInfo, texts: Artifact | None = None) -> Conditioner:
    """The condition of a denoiser; it has a null where that is trained, too."""
    return built_conditioner(cfg, info, cfg["method"]["drop_condition"] > 0, texts)


def built_denoiser(
    cfg: Config, conditioner: Conditioner, shape: list[int], likelihood: Likelihood = levels
) -> NetworkDenoiser:
    """A denoiser as its training starts: the one place where network, process and parameterization meet."""
    network = built_network(cfg, conditioner, shape)
    process = build(cfg["process"], "process")
    parameterization = build(cfg["objective"]["parameterization"], "objective")
    return NetworkDenoiser(network, process, parameterization, VariationalBound(likelihood=likelihood))


def built_network(cfg: Config, conditioner: Conditioner, shape: list[int]) -> nn.Module:
    """The network of a denoiser as its training starts, for x0 of this shape, [C, H, W]."""
    torch.manual_seed(cfg["seed"])
    channels, size, _ = shape
    node = _own(cfg)["network"]
    wired = {
        "concat_channels": conditioner.concat_channels(channels),
        "text_width": conditioner.token_width,
        "pooled_width": conditioner.pooled_width if attribute(node, "hears_pooled") else 0,
    }
    return build(
        node,
        network_path(cfg),
        channels=channels,
        size=size,
        num_labels=conditioner.num_labels,
        **{name: value for name, value in wired.items() if value},
    )


def network_path(cfg: Config) -> str:
    """Where the config of the network is that this config trains."""
    return "weaker.network" if cfg.get("weaker", {}).get("network") is not None else "network"


def _own(cfg: Config) -> Config:
    """Its network and training: the weaker model shares all the rest with the denoiser."""
    own = cfg.get("weaker", cfg)
    return own if own["network"] is not None else {**own, "network": cfg["network"]}


def shape_of(data: ShardDataset, size: int) -> list[int]:
    """[C, H, W] of x0 of a square picture: its own, or that of its latent, which has half the channels of its
    moments. size: of such a picture, where the first one is none.
    """
    first, told = next(iter(data.chunks(1))), data.shapes[0]
    latent = "moments" in first
    _, channels, height, width = first["moments" if latent else "image"].shape
    if told is not None:
        height, width = size * height // told[0], size * width // told[1]
    return [channels // 2 if latent else channels, height, width]
