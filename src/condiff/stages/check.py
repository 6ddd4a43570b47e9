"""What a study would take, counted on networks without weights: nothing is trained and no data are needed.

A product and the sum after it are two operations (FLOP), as torch counts them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from condiff.conditioners.conditioner import Conditioner
from condiff.conditioners.encoders import OneNetwork
from condiff.conditioners.text import Text
from condiff.config.build import build
from condiff.config.nodes import at, attribute, class_of
from condiff.config.origins import TAKEN_OF_BASE
from condiff.data.source import DataInfo
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.guidance import Models
from condiff.diffusion.guidance.classifier import LogProbability, gradient
from condiff.diffusion.process import Marginal, Process
from condiff.diffusion.randomness import SampleNoise
from condiff.errors import ConfigError
from condiff.files import write_json
from condiff.methods.settings import Training
from condiff.reports.checked import CHECKED
from condiff.stages.asked import built_guidance
from condiff.stages.denoiser import build_conditioner
from condiff.stages.given import hints_are_there
from condiff.stages.networks import makers
from condiff.stages.parameters import parameters_of
from condiff.stages.stage import Artifact, Config, Runtime
from condiff.stages.tuned import begin, told
from condiff.stages.tunings import begun_encoders, built_tuning
from condiff.stages.untrained import is_given

FLOAT = 4  # bytes; weights, gradients, AdamW's two moments and the average are float32
META = torch.device("meta")
TRAINERS = {"denoiser": "trainer"}  # where the config has the training of a stage, if not below its name


def check(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """``check.json``: each network, its training, the sampling, and what differs from the paper."""
    write_json(out / CHECKED, {**counted(cfg, _info(cfg)), "recipe": differences(cfg)})


def counted(cfg: Config, info: DataInfo) -> dict[str, Any]:
    """``shape`` of x0, ``networks`` with their sizes and costs, ``sampling`` of one picture, and ``prior`` of
    one that the base draws for an adapter's training.
    """
    stages, process = cfg["check"], build(cfg["process"], "process")
    shape, found = [info.channels, info.size, info.size], {}
    if "autoencoder" in stages:
        shape, found["autoencoder"] = _autoencoder(cfg, shape)
    conditioner = build_conditioner(cfg, info)
    x, m, cond = torch.empty(1, *shape, device=META), _middle(process), _asked(conditioner, shape)
    makes = makers(cfg, stages, conditioner, shape, max(1, info.num_classes))
    with META:
        parts = {name: make() for name, make in makes.items()}
    classifier = parts.pop("classifier", None)
    for name, network in parts.items():
        found[name] = _cost(network, lambda network=network: network(x, m, cond), _training(cfg, name))
    if classifier is not None:
        found["classifier"] = _cost(classifier, lambda: classifier(x, m), _training(cfg, "classifier"))
    if "adapter" in stages:
        hints_are_there(cfg, ("adapter",), info)
        hint = torch.empty(1, info.control, info.size, info.size, device=META) if info.control else None
        network, heard = _adapted(cfg, info, shape, makes["denoiser"]), replace(cond, control=hint)
        calls = {"adapter": (network, lambda: network(x, m, heard)), **_text(cfg, conditioner)}
        for name, (own, call) in calls.items():
            found[name] = {**_cost(own, call, _training(cfg, "adapter")), "trains": told(own)}
    whole = {"shape": shape, "networks": found}
    if "samples" in stages:
        whole["sampling"] = _sampling(cfg, parts, classifier, process, x, cond, found)
    if "prior" in stages:
        own = {**cfg, **{key: cfg["prior"][key] for key in ("sampler", "guidance")}}
        own["num_samples"], base = cfg["prior"]["num"], {"denoiser": parts["denoiser"]}
        whole["prior"] = _sampling(own, base, None, process, x, cond, found)
    return whole


def differences(cfg: Config) -> dict[str, Any] | None:
    """Where the config is not what its recipe says the paper has, and what the recipe says besides."""
    recipe = cfg["recipe"]
    if recipe is None:
        return None
    found = {key: (wanted, _value(cfg, key)) for key, wanted in recipe["paper"].items()}
    other = {key: pair for key, pair in found.items() if pair[0] != pair[1]}
    return {
        "source": recipe["source"],
        "same": len(found) - len(other),
        "changed": [{"key": key, "paper": paper, "here": here} for key, (paper, here) in other.items()],
        "differs": recipe["differs"],
    }


def _info(cfg: Config) -> DataInfo:
    """Of the data if they are there, else of what the config says of them."""
    node = cfg["data"]
    if _are_named(node):
        source = build(node, "data")
        source.check()
        return source.info()
    told = attribute(cfg["conditioner"], "gives") if cfg["conditioner"] else ()
    asked = ("size", "num_classes") if "label" in (told or ("label",)) else ("size",)
    lacking = [key for key in asked if node.get(key) is None]
    if lacking:
        raise ConfigError(*(f"data.{key}: is null; give it, or data.path, to count" for key in lacking))
    classes = node.get("num_classes") or 0
    names = [str(k) for k in range(classes)]
    return DataInfo(classes, names, 3, node["size"], 0, 0, False, "pictures that are not there", [])


def _are_named(data: Config) -> bool:
    """Whether it is said where the pictures lie, or they are drawn or in a package."""
    return data.get("path", "") not in ("???", None) or data.get("urls") is not None


def _autoencoder(cfg: Config, shape: list[int]) -> tuple[list[int], dict[str, Any]]:
    """The shape of its latents, and what it costs to encode a picture and decode it again."""
    with META:
        module = build(cfg["autoencoder"]["network"], "autoencoder.network", channels=shape[0])
    picture, channels = torch.empty(1, *shape, device=META), module.latent_channels
    cost = _cost(
        module,
        lambda: module.decode(module.encode(picture)[:, :channels]),
        _training(cfg, "autoencoder"),
    )
    size = shape[1] // module.downsampling
    return ([channels, size, size] if "latents" in cfg["check"] else shape), cost


def _adapted(cfg: Config, info: DataInfo, shape: list[int], make: Callable[[], nn.Module]) -> nn.Module:
    """The denoiser that is made so with its adapter, which passes through all of it in training."""
    with META:
        base = make()
        tuning = built_tuning(cfg["adapter"]["tuning"], info, base, shape)
        return begin(tuning, base, cfg["seed"])


def _text(cfg: Config, conditioner: Conditioner) -> dict[str, tuple[nn.Module, Callable[[], Tensor]]]:
    """The encoders of text that are trained with an adapter, and the pass of a caption through each."""
    found = {}
    for part, network in begun_encoders(cfg, conditioner).items():
        own = cast(Text, conditioner).encoder.named()[part]
        ids = torch.zeros(1, own.length, dtype=torch.int64, device=META)
        found[f"adapter.text {part}"] = network, partial(_states, own, network, ids)
    return found


def _states(encoder: OneNetwork, network: nn.Module, ids: Tensor) -> Tensor:
    return encoder.states(network, ids, ids)[0]


def _cost(module: nn.Module, call: Callable[[], Tensor], training: Training | None) -> dict[str, Any]:
    """Its size, the operations of one picture, and those and the bytes of its training on one device.

    None is no training: 0 steps of 0 pictures.
    """
    flop, activations = _passed(module, call)
    size = parameters_of(module)
    steps, batch_size = (training.steps, training.batch_size) if training else (0, 0)
    # all of the way back to the inputs, and to the weights a share of as much again
    step = (2 + size["trainable"] / size["parameters"]) * flop * batch_size
    # weights; and of those that are trained a gradient, two moments and perhaps an average
    beside = 0 if training is None else 3 + (training.ema_decay is not None)
    kept = size["parameters"] + size["trainable"] * beside
    return {
        **size,
        "flop": flop,
        "steps": steps,
        "batch_size": batch_size,
        "accumulate": training.accumulate if training else 1,
        "flop_step": step,
        "flop_training": step * steps,
        "precision": training.precision if training else "32-true",
        "bytes_states": FLOAT * kept,
        "bytes_activations": activations,
    }


def _passed(module: nn.Module, call: Callable[[], Tensor]) -> tuple[int, int]:
    """Operations of a forward pass, and the bytes that it keeps for the way back, its weights apart."""
    weights = {p.untyped_storage()._cdata for p in module.parameters()}
    kept: dict[int, int] = {}
    held: list[Tensor] = []  # so that no storage is given to another tensor meanwhile

    def keep(tensor: Tensor) -> Tensor:
        held.append(tensor)
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        call()
    return counter.get_total_flops(), sum(kept.values())


def _sampling(
    cfg: Config,
    parts: Mapping[str, Any],
    classifier: Any,
    process: Process,
    x: Tensor,
    cond: Condition,
    found: Mapping[str, Any],
) -> dict[str, Any]:
    """Network calls and operations of one picture: the whole walk, on networks that only count.

    A call of the classifier is one forward and back to the picture; the others are what was ``found``.
    """
    m, costs = _middle(process), {name: found[name]["flop"] for name in parts}
    if classifier is not None:
        log_p = _of_no_leaf(classifier.requires_grad_(False).log_probability)
        costs["classifier"], _ = _passed(classifier, lambda: gradient(log_p, x, m, cond))
    target, calls = build(cfg["objective"]["parameterization"], "objective"), dict.fromkeys(costs, 0)
    for name, network in (*parts.items(), *([] if classifier is None else [("classifier", classifier)])):
        answer = network(x, m) if name == "classifier" else network(x, m, cond)
        network.forward = _counting(name, calls, list(answer.shape[1:]))
    denoisers = {name: NetworkDenoiser(network, process, target) for name, network in parts.items()}
    models = Models(
        denoisers["denoiser"],
        None if classifier is None else classifier.log_probability,
        denoisers.get("weaker"),
    )
    sampler = build(cfg["sampler"], "sampler")
    sampler(built_guidance(cfg["guidance"])(models), x, cond, _Unheard(0, [0]))
    return {
        "steps": sampler.steps,
        "sampler": class_of(cfg["sampler"]),
        "guidance": class_of(cfg["guidance"]),
        "calls": {**calls},  # before a second walk is counted on the same networks
        "flop_picture": sum(count * costs[name] for name, count in calls.items()),
        "num_samples": cfg["num_samples"],
    }


def _counting(name: str, calls: dict[str, int], shape: list[int]) -> Callable[..., Tensor]:
    """In the place of a network's work: an answer of its shape that hangs on x, as a gradient asks."""

    def count(x: Tensor, *_: Any) -> Tensor:
        calls[name] += len(x)
        return x.flatten(1).sum(1).view(-1, *[1] * len(shape)) * torch.empty(len(x), *shape, device=META)

    return count


def _of_no_leaf(log_p: LogProbability) -> LogProbability:
    """The same function: the counter follows a gradient to results of operations only."""
    return lambda x, m, cond: log_p(x.clone(), m, cond)


class _Unheard(SampleNoise):
    """Noise without values."""

    def normal(self, *shape: int) -> Tensor:
        return torch.empty(1, *shape, device=META)


def _asked(conditioner: Conditioner, shape: list[int]) -> Condition:
    label, source = torch.zeros(1, dtype=torch.int64), torch.empty(1, *shape)
    return conditioner.example({"label": label, "source": source, "text": [""]}).to(META)


def _middle(process: Process) -> Marginal:
    """Of one time in the middle, its values forgotten."""
    return process.at(process.clock(torch.full((1,), 0.5, dtype=torch.float64))).to(
        torch.empty(1, device=META)
    )


def _training(cfg: Config, name: str) -> Training | None:
    """None where it is used as it is: given its weights, or of a finished base."""
    given = cfg["network"] if name == "denoiser" else cfg[name].get("network")
    if (given and is_given(given)) or (cfg["base"] is not None and name in TAKEN_OF_BASE):
        return None
    path = TRAINERS.get(name, f"{name}.trainer")
    node = _value(cfg, path)
    return None if node is None else build(node, path)


def _value(cfg: Config, key: str) -> Any:
    *above, last = key.split(".")
    return at(cfg, *above).get(last)
