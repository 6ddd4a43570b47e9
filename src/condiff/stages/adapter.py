"""Adapt a finished denoiser to other data: a few of its parameters are trained, or matrices beside them."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import nn

from condiff.adapters.base import digest_of
from condiff.adapters.low_rank import write
from condiff.adapters.tuning import Tuning, inside, part_of
from condiff.conditioners.live import LiveText
from condiff.conditioners.text import Text
from condiff.config.build import build
from condiff.data.dataset import ShardDataset
from condiff.data.pairs import Pairs
from condiff.data.shuffled import can_be_shuffled
from condiff.data.source import DataInfo
from condiff.errors import ConfigError
from condiff.files import write_json
from condiff.methods.adaptation import Adaptation, WithText
from condiff.stages.adapted import encoders
from condiff.stages.denoiser import Trained, built_method, read_denoiser
from condiff.stages.finished_adapters import ADAPTER, FILE, text_of
from condiff.stages.obedience import obeyed, rows_of
from condiff.stages.splits import load_split
from condiff.stages.stage import LOG, Artifact, Config, Runtime
from condiff.stages.training import Look, Seen, fit
from condiff.stages.tuned import begin, sizes, told
from condiff.stages.tunings import begun, built_tuning
from condiff.stages.weights import averaged_weights

log = logging.getLogger(__name__)
TRAINS = "trains.json"  # the number of parameters in each tensor that is trained


def train(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """``adapter.safetensors``, which diffusers reads too, of the averaged weights."""
    own, ranks = cfg["adapter"], runtime.ranks
    trained = read_denoiser(inputs["denoiser"], inputs["data"], inputs.get("texts"))
    info, locked = DataInfo.read(inputs["data"].path), trained[0].network
    tuning, base = built_tuning(own["tuning"], info, locked, trained[2]), digest_of(inside(locked))
    trained = begun(trained, tuning, cfg["seed"])
    network = trained[0].network
    tuning.take_up(network, averaged_weights(inputs["denoiser"].path))
    if own.get("text") is not None:
        _train_with_text(cfg, trained, inputs, runtime, out, tuning, base)
        return
    if ranks.leads:
        write_json(out / TRAINS, sizes(network))
        log.info("adapter: %s", told(network))
    drawing = runtime.pictures and runtime.pictures.samples(trained)
    measure = runtime.watch and runtime.watch.of(ADAPTER, trained)
    method = _checked(_method(cfg, trained, inputs))
    fit(ADAPTER, method, _data(inputs), runtime, out, measure, drawing)
    if ranks.leads:
        for line in obeyed(rows_of(out / LOG)):
            log.info("adapter: %s", line)
        _take_averaged(network, out)
        tuning.write(network, out / FILE, base, own["trigger"])


def _train_with_text(
    cfg: Config,
    trained: Trained,
    inputs: Mapping[str, Artifact],
    runtime: Runtime,
    out: Path,
    tuning: Tuning,
    base: str,
) -> None:
    """The same with the encoders of its text; these have a file of their own where all of them is trained."""
    own, (denoiser, conditioner, shape), ranks = cfg["adapter"], trained, runtime.ranks
    networks, of_text = nn.ModuleDict(encoders(trained)), cast(Tuning, build(own["text"], "adapter.text"))
    parts = {part_of(denoiser.network): inside(denoiser.network), **encoders(trained)}
    digests = {part_of(denoiser.network): base, **{part: digest_of(net) for part, net in networks.items()}}
    digest = digest_of(networks)
    for encoder in networks.values():
        begin(of_text, encoder, cfg["seed"], "adapter.text")
    live = LiveText(cast(Text, conditioner), networks)
    method = _method(cfg, (denoiser, live, shape), inputs)
    method.train_text(live.networks, own["text_rate"], live.text.encoder.leaves_some)
    if ranks.leads:
        write_json(out / TRAINS, sizes(nn.ModuleDict(parts)))
        for part, network in parts.items():
            log.info("adapter: %s %s", part, told(network))
    whole = denoiser, live, shape
    drawing = runtime.pictures and runtime.pictures.samples(whole)
    if drawing:
        drawing = replace(drawing, look=_of_both(lambda own: runtime.pictures.samples(own).look, whole))
    measure = runtime.watch and runtime.watch.of(ADAPTER, whole)
    if measure:
        measure = _of_both(lambda own: runtime.watch.of(ADAPTER, own), whole)
    fit(ADAPTER, _checked(method), _data(inputs), runtime, out, measure, drawing)
    if ranks.leads:
        _take_averaged(method.trained, out)
        if of_text.by_parts:
            write(parts, out / FILE, digests, own["trigger"])
        else:
            tuning.write(denoiser.network, out / FILE, base, own["trigger"])
            of_text.write(networks, text_of(out / FILE), digest, own["trigger"])


def _of_both(look: Callable[[Trained], Look[Seen]], trained: Trained) -> Look[Seen]:
    """A look at a denoiser and the encoders of its text, trained together, for one at a denoiser alone."""
    denoiser, live, shape = trained

    def at(whole: nn.Module) -> Seen:
        both = cast(WithText, whole)
        return look((denoiser, cast(LiveText, live).by(both.text), shape))(both.network)

    return at


def _data(inputs: Mapping[str, Artifact]) -> ShardDataset | Pairs:
    """What it is trained on: the data, and beside them what the base draws, if that was asked for."""
    own = load_split(inputs.get("latents", inputs["data"]), "train")
    if "prior" not in inputs:
        return own
    return Pairs(own, ShardDataset(inputs.get("prior_latents", inputs["prior"]).path, "train"))


def _method(cfg: Config, trained: Trained, inputs: Mapping[str, Artifact]) -> Adaptation:
    latents = inputs.get("base_latents", inputs.get("latents"))
    method = built_method(cfg, cfg["adapter"], "adapter.", trained, latents)
    if "prior" in inputs:
        method.prior_weight = cfg["prior"]["weight"]
    method.factors = cfg["adapter"].get("rates") or {}
    if method.shuffle_after is not None:
        _check_order(ShardDataset(inputs["data"].path, "train", held_bytes=0), method.shuffle_after)
    return method


def _check_order(data: ShardDataset, after: int) -> None:
    if not any(can_be_shuffled(data.text(row), after) for row in range(len(data))):
        raise ConfigError(
            f"adapter.method.shuffle_after: no caption has two parts between commas beyond the first {after},"
            " so that no order changes; use null"
        )


def _checked(method: Adaptation) -> Adaptation:
    """The same, whose rates are of something."""
    try:
        method.rates()
    except ValueError as error:
        raise ConfigError(str(error)) from error
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
