"""What ranks that hold a network in parts are given to do in the tests."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from condiff.data.dataset import ShardDataset
from condiff.interrupts import Interrupted, Interrupts
from condiff.stages.stage import Artifact, Runtime, Stage

WORK = Stage(
    "denoiser", "tests.stages.divided_work:train", ("data",), reads=("steps", "stop", "asked"), is_shared=True
)


def train(cfg: Mapping[str, Any], inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """What is ``asked`` for: a training in ``whole``, one that is ``stopped``, and the same ``again``."""
    if "whole" in cfg["asked"]:
        fit(cfg, inputs, runtime, out / "whole")
    if "stopped" in cfg["asked"]:
        stopped = replace(runtime, interrupts=Interrupts())

        def log(_: str, step: int, __: Any) -> None:
            stopped.interrupts.pending = 15 if step == cfg["stop"] else None

        object.__setattr__(stopped, "log", log)
        with suppress(Interrupted):
            fit(cfg, inputs, stopped, out / "again")
    if "again" in cfg["asked"]:
        fit(cfg, inputs, runtime, out / "again")


def fit(cfg: Mapping[str, Any], inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    from condiff.stages import training  # noqa: PLC0415  lightning
    from tests.stages.rank_work import recorded  # noqa: PLC0415
    from tests.stages.small import method  # noqa: PLC0415

    out.mkdir(exist_ok=True)
    own = method(cfg["steps"], 7, attends=True)
    settings = own.training_settings
    settings.keep, settings.averages, settings.snapshots = [2], [0.1], 2
    seen, looked = recorded(own), {}

    def look(network: nn.Module) -> Image.Image:
        looked.update(
            {
                name: value.clone(memory_format=torch.contiguous_format)
                for name, value in network.state_dict().items()
            }
        )
        return Image.new("L", (1, 1))

    drawing = training.Drawing(look, "", 2)
    data = ShardDataset(inputs["data"].path, "train")
    training.fit("denoiser", own, data, runtime, out, drawing=drawing)
    save_file(seen, out / f"seen{runtime.ranks.index}.safetensors")
    if runtime.ranks.leads:
        save_file(looked, out / "looked.safetensors")
    (out / f"held{runtime.ranks.index}.json").write_text(json.dumps(_held(own)))


def _held(own: Any) -> dict[str, int]:
    """Bytes that this process holds after a training."""
    from condiff.callbacks.ema import Ema  # noqa: PLC0415
    from condiff.callbacks.power_averages import PowerAverages  # noqa: PLC0415

    parameters, callbacks = own.trainable(), own.trainer.callbacks
    moments = [v for state in own.optimizers().state.values() for v in state.values() if v.ndim]
    gradients = [p.grad for p in parameters]
    averages = [v for callback in callbacks if isinstance(callback, Ema) for v in callback.average]
    powers = [
        value
        for callback in callbacks
        if isinstance(callback, PowerAverages)
        for some in callback.averages.values()
        for value in some
    ]
    every = {"parameters": parameters, "gradients": gradients, "moments": moments}
    every |= {"averages": averages, "powers": powers}
    return {name: _bytes(tensors) for name, tensors in every.items()}


def _bytes(tensors: Iterable[Any]) -> int:
    """Of all memory that they lie in, some in one."""
    parts = [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]
    storages = [part.untyped_storage() for part in parts]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
