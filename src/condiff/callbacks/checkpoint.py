"""Checkpoints that hold tensors and plain JSON, are whole or absent, and say when they are damaged."""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from condiff.callbacks.ranks import Alone, Ranks
from condiff.divided import is_divided, whole
from condiff.errors import ArtifactError, DataError
from condiff.files import written_whole
from condiff.interrupts import Interrupts

VERSION = 1
LONG, SELDOM = 1.0, 50  # seconds; what takes longer to save waits so many times as long for the next


class SafetensorsIO(CheckpointIO):
    """Lightning's checkpoint as one safetensors file; what is no tensor stands as JSON in its header.

    Each rank saves and the one that leads writes, as they may hold the tensors in parts.
    """

    def __init__(self, ranks: Ranks | None = None) -> None:
        self.ranks = ranks or Alone()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if not self.ranks.leads:
            _take_part(checkpoint)
            return
        tensors: dict[str, Tensor] = {}
        tree = json.dumps(_flatten(checkpoint, tensors))
        header = {"version": str(VERSION), "tree": tree, "sha256": _digest(tree, tensors)}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with written_whole(Path(path)) as temporary:
            save_file(tensors, temporary, metadata=header)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: Any = None
    ) -> dict[str, Any]:
        try:
            with safe_open(path, "pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ArtifactError(f"{path}: cannot be read ({error})") from error
        if header.get("version") != str(VERSION):
            raise ArtifactError(
                f"{path}: has checkpoint version {header.get('version')}, this code reads {VERSION}"
            )
        if header["sha256"] != _digest(header["tree"], tensors):
            raise ArtifactError(f"{path}: is damaged, its content does not have the hash it was saved with")
        return _unflatten(json.loads(header["tree"]), tensors)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class Checkpoints(Callback):
    """Saves every so many seconds, and before an interrupt ends the run; keeps the two newest.

    What takes more than a second to save is saved less often, so that a fiftieth of the time goes into it.
    All ranks agree at every step on whether to stop, since an interrupt may reach only one of them.
    """

    def __init__(
        self, folder: Path, seconds: float, interrupts: Interrupts, ranks: Ranks | None = None
    ) -> None:
        self.folder, self.seconds, self.interrupts = folder, seconds, interrupts
        self.ranks = ranks or Alone()
        self.last, self.interval = time.monotonic(), seconds

    def on_train_start(self, *_: Any) -> None:
        # Lightning's handler ends the process with code 0 after some steps, before this callback sees them
        self.interrupts.take_back()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        due = self.ranks.leads and time.monotonic() - self.last >= self.interval
        stopping, due = self.ranks.largest(self.interrupts.pending or 0, due)
        if (due or stopping) and trainer.global_step < trainer.max_steps:
            self.save(trainer)
        if stopping:
            self.ranks.largest(0)  # nobody leaves before all is saved
            self.interrupts.pending = int(stopping)
            self.interrupts.stop_here()

    def stop_if_asked(self, trainer: Trainer) -> None:
        """Between two steps, while the data of the next one are waited for: an interrupt waits no longer."""
        if self.interrupts.pending:
            self._save_alone(trainer)
            self.interrupts.stop_here()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """What cannot be had of the data takes no step with it: it is told of between two."""
        if isinstance(exception, DataError):
            self._save_alone(trainer)

    def _save_alone(self, trainer: Trainer) -> None:
        """Where it leads, and no other rank has to take part; all of them had theirs not long ago."""
        in_parts = any(map(is_divided, trainer.lightning_module.parameters()))
        if self.ranks.leads and trainer.global_step and not in_parts:
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        began = time.monotonic()
        self.ranks.saving()
        trainer.save_checkpoint(self.folder / f"step={trainer.global_step:08d}.safetensors")
        for old in _found(self.folder)[2:] if self.ranks.leads else ():
            old.unlink()
        self.last = time.monotonic()
        took = self.last - began
        self.interval = max(self.seconds, SELDOM * took) if took > LONG else self.seconds
        self.ranks.alive()


def newest(folder: Path, say: Any) -> Path | None:
    """The newest checkpoint that is whole; damaged ones are set aside and named.

    What a save that was killed has left beside them is removed: whoever asks is the only one to train here.
    Raises ArtifactError when there are checkpoints and none of them can be read.
    """
    for half in folder.glob(".step=*.tmp"):
        half.unlink()
    damaged: dict[Path, ArtifactError] = {}
    for path in _found(folder):
        try:
            SafetensorsIO().load_checkpoint(path)
        except ArtifactError as error:
            damaged[path] = error
        else:
            for bad, error in damaged.items():
                bad.rename(bad.with_suffix(".bad"))
                say("%s; going back to %s", error.lines[0], path.name)
            return path
    if damaged:
        raise ArtifactError(f"{folder}: no checkpoint in it can be read; delete the folder to start afresh")
    return None


def _found(folder: Path) -> list[Path]:
    """Newest first, by the step in the name."""
    return sorted(folder.glob("step=*.safetensors"), reverse=True)


def _flatten(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = whole(value.detach()).cpu().contiguous().clone()
        # a fused optimizer pairs its moments with the weights in memory order, so the order is kept
        turned = value.ndim == 4 and not value.is_contiguous()
        return {"tensor": name, "channels_last": turned}
    if isinstance(value, Mapping):
        return {"items": [[key, _flatten(child, tensors)] for key, child in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_flatten(child, tensors) for child in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint holds tensors and plain values, got {type(value).__name__}")


def _take_part(value: Any) -> None:
    """The part of a rank that does not lead in what ``_flatten`` gathers, one tensor after the other."""
    if isinstance(value, Tensor):
        whole(value.detach())
    elif isinstance(value, Mapping | list | tuple):
        for child in value.values() if isinstance(value, Mapping) else value:
            _take_part(child)


def _unflatten(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    (kind, value), *_ = node.items()
    if kind == "tensor":
        layout = torch.channels_last if node["channels_last"] else torch.contiguous_format
        return tensors[value].contiguous(memory_format=layout)
    if kind == "list":
        return [_unflatten(child, tensors) for child in value]
    return {key: _unflatten(child, tensors) for key, child in value}


def _digest(tree: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(tree.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
