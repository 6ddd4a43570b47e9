"""Sampling gone through with untrained networks: what cannot be sampled is told before any training.

Networks that are given their weights are filled, so that a file that does not fit is told then, too.
"""

import copy
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from condiff.adapters.tuning import trained_so
from condiff.callbacks.trainings import settings_of
from condiff.conditioners.conditioner import Conditioner
from condiff.config.build import build
from condiff.config.nodes import argument, at
from condiff.data.source import DataInfo
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.guidance import Models
from condiff.diffusion.randomness import SampleNoise
from condiff.divided import blocks_of
from condiff.errors import ConfigError
from condiff.stages.adapters_fit import adapters_fit, digest_of_base
from condiff.stages.asked import built_guidance
from condiff.stages.compiled import repeating
from condiff.stages.denoiser import build_conditioner
from condiff.stages.networks import makers
from condiff.stages.stage import Artifact
from condiff.stages.tuned import begin
from condiff.stages.tunings import begun_encoders, built_tuning
from condiff.stages.untrained import fill

Config = Mapping[str, Any]
_KEY = re.compile(r"[a-z][\w.]*: ")
META = torch.device("meta")
LARGE = 20_000_000  # parameters of all networks together, from which a walk on a CPU takes long
STEPS = 3  # as many as a solver of second order needs to show what it does


@torch.no_grad()
def rehearse(cfg: Config, info: DataInfo, base: Artifact | None = None) -> None:
    """Draw two samples of a study with the networks as they start; ConfigError where that cannot be done.

    A few steps stand for all: what a guidance, a solver and a network refuse of one another shows at once.
    Large networks are gone through by the shapes of their tensors alone, which takes a moment. base: the
    denoiser, where another run has made it. ArtifactError of adapters that are named and do not fit it.
    """
    shape = _shape(cfg, info)
    conditioner = build_conditioner(cfg, info)
    networks, place = _networks(cfg, conditioner, shape, info.num_classes)
    _check_blocks(cfg, networks)
    if cfg.get("adapters"):
        make = makers(cfg, ["denoiser"], conditioner, shape, info.num_classes)["denoiser"]
        adapters_fit(cfg, info, networks["denoiser"], conditioner, digest_of_base(cfg, make, base))
    process = build(cfg["process"], "process")
    target = build(cfg["objective"]["parameterization"], "objective")
    denoisers = {
        name: NetworkDenoiser(network, process, target)
        for name, network in networks.items()
        if name != "classifier"
    }
    log_p = networks["classifier"].log_probability if "classifier" in networks else None
    sampler = build(cfg["sampler"], "sampler")
    shortened = build({**cfg["sampler"], "steps": min(sampler.steps, STEPS)}, "sampler")
    label, source = torch.arange(2) % max(1, info.num_classes), torch.zeros(2, *shape)
    cond = conditioner.example({"label": label, "source": source, "text": ["", ""]}).to(place)
    rng = SampleNoise(0, range(2), place)
    if "adapter" in cfg["stages"]:
        with place:
            _check_adapter(cfg, info, networks["denoiser"], conditioner, shape)
    with _told_under("guidance"):
        models = Models(denoisers["denoiser"], log_p, denoisers.get("weaker"))
        guided = built_guidance(cfg["guidance"])(models)
    with _told_under("sampler"), _only_shapes() if place == META else nullcontext():
        shortened(guided, rng.normal(*shape), cond, rng)
    with _told_under("sampler"):
        sampler.nodes(process, torch.zeros(2, *shape))


def _check_blocks(cfg: Config, networks: Mapping[str, Any]) -> None:
    """ConfigError where a denoiser has no blocks, and is to be compiled or held by devices block by block."""
    if cfg["runtime"]["sample_compile"] == "blocks":
        repeating(networks["denoiser"], "runtime.sample_compile")
    for stage in {"denoiser", "weaker"} & networks.keys() & {*cfg["stages"]}:
        key = settings_of(stage)
        if argument(at(cfg, *key.split(".")), "compile") == "blocks":
            repeating(networks[stage], f"{key}.compile")
        if cfg["runtime"]["strategy"] == "fsdp":
            blocks_of(networks[stage], key)


def _check_adapter(
    cfg: Config, info: DataInfo, network: nn.Module, conditioner: Conditioner, shape: list[int]
) -> None:
    """ConfigError of names of layers that an adapter is for, or has rates for, and that there are not."""
    own = cfg["adapter"]
    with _told_under("adapter.tuning"):
        tuning = built_tuning(own["tuning"], info, network, shape)
        tuning.check(network)
    with _told_under("adapter.text"):
        text = begun_encoders(cfg, conditioner)
    if own.get("rates"):
        begun = begin(tuning, copy.deepcopy(network), cfg["seed"])
        whole = nn.ModuleDict({"network": begun, "text": nn.ModuleDict(text)}) if text else begun
        with _told_under("adapter.rates"):
            trained_so(own["rates"], whole)


def _networks(
    cfg: Config, conditioner: Conditioner, shape: list[int], num_classes: int
) -> tuple[dict[str, Any], torch.device]:
    """Those of the study, by stage, with the weights they are given, and where they are."""
    makes = makers(cfg, cfg["stages"], conditioner, shape, num_classes)
    with META:
        networks = {name: make() for name, make in makes.items()}
    large = sum(p.numel() for network in networks.values() for p in network.parameters()) > LARGE
    if not large:
        networks = {name: make() for name, make in makes.items()}
    nodes = {"denoiser": ("network", cfg["network"])}
    nodes |= {name: (f"{name}.network", cfg[name]["network"]) for name in networks if name != "denoiser"}
    with _silent_copies():
        for name, network in networks.items():
            key, node = nodes[name]
            fill(network.eval(), node or {}, key)
    return networks, META if large else torch.device("cpu")


@contextmanager
def _silent_copies() -> Iterator[None]:
    """Networks without values take weights for their shapes alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")
        yield


@contextmanager
def _only_shapes() -> Iterator[None]:
    """What a guidance asks of the values of a tensor cannot be told of shapes, and is not refused."""
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        if "meta" not in str(error).lower():
            raise


@contextmanager
def _told_under(key: str) -> Iterator[None]:
    """A refusal begins with a config key: its own, or this one."""
    try:
        yield
    except ConfigError:
        raise
    except ValueError as error:
        said = str(error)
        raise ConfigError(said if _KEY.match(said) else f"{key}: {said}") from error


def _shape(cfg: Config, info: DataInfo) -> list[int]:
    """[C, H, W] of x0, as the stages before the denoiser will give it."""
    if "latents" not in cfg["stages"]:
        return [info.channels, info.size, info.size]
    key, node = "autoencoder.network", cfg["autoencoder"]["network"]
    with META:
        autoencoder = build(node, key, channels=info.channels)
    with _silent_copies():
        fill(autoencoder, node, key)
    size = info.size // autoencoder.downsampling
    return [autoencoder.latent_channels, size, size]
