"""Adapt a finished denoiser to other data: a few of its parameters are trained, or matrices beside them."""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from condiff.adapters.base import digest_of
from condiff.adapters.tuning import Tuning, inside
from condiff.config.build import build
from condiff.data.dataset import ShardDataset
from condiff.data.pairs import Pairs
from condiff.errors import ConfigError
from condiff.files import write_json
from condiff.methods.adaptation import Adaptation
from condiff.stages.denoiser import Trained, built_method, read_denoiser
from condiff.stages.finished_adapters import FILE
from condiff.stages.stage import Artifact, Config, Runtime
from condiff.stages.training import fit

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


def begin(tuning: Tuning, network: nn.Module, seed: int) -> None:
    """Leave in a network only what a tuning trains to be trained, and the network as good as unchanged."""
    torch.manual_seed(seed)
    try:
        tuning.begin(network)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def sizes(network: nn.Module) -> dict[str, int]:
    """The number of parameters in each tensor that is trained."""
    return {name: weight.numel() for name, weight in network.named_parameters() if weight.requires_grad}


def told(network: nn.Module) -> str:
    """What is trained of a network, with counts, in one line."""
    trained, total = sizes(network), sum(weight.numel() for weight in network.parameters())
    layers = {name.partition(".lora_")[0].removesuffix(".0") for name in trained}
    kinds = Counter(name.rpartition(".")[2] for name in layers)
    what = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    share, count = sum(trained.values()) / total, sum(trained.values())
    return f"trains {count:,} of {total:,} parameters ({share:.1%}) in {len(trained)} tensors: {what}"


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
