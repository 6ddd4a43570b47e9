"""Adapt a finished denoiser to other data: a few of its parameters are trained, or matrices beside them."""

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from condiff.adapters.base import digest_of
from condiff.adapters.tuning import inside
from condiff.config.build import build
from condiff.data.dataset import ShardDataset
from condiff.data.pairs import Pairs
from condiff.files import write_json
from condiff.methods.adaptation import Adaptation
from condiff.stages.denoiser import Trained, built_method, read_denoiser
from condiff.stages.finished_adapters import FILE
from condiff.stages.stage import Artifact, Config, Runtime
from condiff.stages.training import fit
from condiff.stages.tuned import begin, sizes, told

log = logging.getLogger(__name__)
TRAINS = "trains.json"  # the number of parameters in each tensor that is trained


def train(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """``adapter.safetensors``, which diffusers reads too, of the averaged weights."""
    own, ranks = cfg["adapter"], runtime.ranks
    trained = read_denoiser(inputs["denoiser"], inputs["data"], inputs.get("texts"))
    network, tuning = trained[0].network, build(own["tuning"], "adapter.tuning")
    base = digest_of(inside(network))
    begin(tuning, network, cfg["seed"])
    if ranks.leads:
        write_json(out / TRAINS, sizes(network))
        log.info("adapter: %s", told(network))
    drawing = runtime.pictures and runtime.pictures.samples(trained)
    fit("adapter", _method(cfg, trained, inputs), _data(inputs), runtime, out, drawing=drawing)
    if ranks.leads:
        _take_averaged(network, out)
        tuning.write(network, out / FILE, base, own["trigger"])


def _data(inputs: Mapping[str, Artifact]) -> ShardDataset | Pairs:
    """What it is trained on: the data, and beside them what the base draws, if that was asked for."""
    own = ShardDataset(inputs.get("latents", inputs["data"]).path, "train")
    if "prior" not in inputs:
        return own
    return Pairs(own, ShardDataset(inputs.get("prior_latents", inputs["prior"]).path, "train"))


def _method(cfg: Config, trained: Trained, inputs: Mapping[str, Artifact]) -> Adaptation:
    latents = inputs.get("base_latents", inputs.get("latents"))
    method = built_method(cfg, cfg["adapter"], "adapter.", trained, latents)
    if "prior" in inputs:
        method.prior_weight = cfg["prior"]["weight"]
    asking = {id(weight) for weight in method.parameters() if weight.requires_grad}
    assert asking == {id(weight) for weight in method.trainable()}, "a part of the base would be trained"
    return method


def _take_averaged(network: nn.Module, out: Path) -> None:
    """What the training has left, in the network instead of in files of its own."""
    raw, averaged = out / "weights.safetensors", out / "ema.safetensors"
    weights = load_file(averaged if averaged.is_file() else raw)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.requires_grad:
                weight.copy_(weights[name])
    for file in (raw, averaged):
        file.unlink(missing_ok=True)
