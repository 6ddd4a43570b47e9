"""Sampling gone through with untrained networks: what cannot be sampled is told before any training.

Networks that are given their weights are filled, so that a file that does not fit is told then, too.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from condiff.config.build import build
from condiff.data.source import DataInfo
from condiff.diffusion.guidance import Models
from condiff.diffusion.randomness import SampleNoise
from condiff.errors import ConfigError
from condiff.stages.classifier import built_classifier
from condiff.stages.denoiser import build_conditioner, built_denoiser
from condiff.stages.untrained import fill

Config = Mapping[str, Any]
_KEY = re.compile(r"[a-z][\w.]*: ")
STEPS = 3  # as many as a solver of second order needs to show what it does


@torch.no_grad()
def rehearse(cfg: Config, info: DataInfo) -> None:
    """Draw two samples of a study with the networks as they start; ConfigError where that cannot be done.

    A few steps stand for all: what a guidance, a solver and a network refuse of one another shows at once.
    """
    shape = _shape(cfg, info)
    own = {key: part for key, part in cfg.items() if key != "weaker"}
    conditioner = build_conditioner(cfg, info)
    denoiser = built_denoiser(own, conditioner, shape).eval()
    fill(denoiser.network, cfg["network"], "network")
    classifier = weaker = None
    if "classifier" in cfg["stages"]:
        network = built_classifier(cfg, shape, info.num_classes).eval()
        fill(network, cfg["classifier"]["network"], "classifier.network")
        classifier = network.log_probability
    if "weaker" in cfg["stages"]:
        weaker = built_denoiser(cfg, conditioner, shape).eval()
        fill(weaker.network, cfg["weaker"]["network"] or {}, "weaker.network")
    sampler = build(cfg["sampler"], "sampler")
    shortened = build({**cfg["sampler"], "steps": min(sampler.steps, STEPS)}, "sampler")
    label, source = torch.arange(2) % max(1, info.num_classes), torch.zeros(2, *shape)
    cond, rng = conditioner({"label": label, "source": source}), SampleNoise(0, range(2))
    with _told_under("guidance"):
        guided = build(cfg["guidance"], "guidance")(Models(denoiser, classifier, weaker))
    with _told_under("sampler"):
        shortened(guided, rng.normal(*shape), cond, rng)
        sampler.nodes(denoiser.process, torch.zeros(2, *shape))


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
    autoencoder = build(cfg["autoencoder"]["network"], "autoencoder.network", channels=info.channels)
    size = info.size // autoencoder.downsampling
    return [autoencoder.latent_channels, size, size]
