"""Models of diffusers: where one lies, in a folder or on the hub, and which of its files are read; no torch.

Nothing is executed: shapes are read from config.json and weights from safetensors, and whatever else lies
beside them is left alone.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condiff import hub

CONFIG = "config.json"
WEIGHTS = ("diffusion_pytorch_model.safetensors", "weights.safetensors")  # diffusers' name; of our artifacts
_SHARD = re.compile(r"diffusion_pytorch_model-\d{5}-of-(\d{5})\.safetensors")
_PICKLED = (".bin", ".ckpt", ".pt", ".pth")


@dataclass(frozen=True)
class Files:
    """A model whose weights are not read yet."""

    config: Mapping[str, Any]
    folder: Path
    weights: tuple[Path, ...]


@dataclass(frozen=True)
class Part:
    """What is looked for.

    classes: of diffusers. places: where in a folder; "" is all of it, others are a part of a pipeline.
    beside: files of a pipeline that are fetched with it, where there are such.
    """

    classes: tuple[str, ...]
    places: tuple[str, ...]
    beside: tuple[str, ...] = ()

    def found(self, weights: str) -> Files:
        """What ``weights`` names: a folder, or a model of the hub that lies in its local cache.

        ValueError, without the key, where it is not there or not complete.
        """
        folder = self._folder(weights)
        if folder is None:
            raise ValueError(f"{weights} is no folder, and not in the hub's local cache either; {self.hint}")
        config, *files = (folder / name for name in self.chosen(self._names(folder), str(folder)))
        return Files(read_config(config), config.parent, tuple(files))

    def fetch(self, weights: str) -> None:
        """Download a model of the hub that is not there, as it was asked for by name."""
        if self._folder(weights) is None:
            hub.download(
                weights,
                lambda names, what: [
                    *self.chosen(names, what),
                    *(name for name in self.beside if name in names),
                ],
            )

    def chosen(self, names: Collection[str], what: str) -> list[str]:
        """Of the files of a model, its config and then those of its weights; ValueError where it has none."""
        place = next((place for place in self.places if f"{place}{CONFIG}" in names), None)
        if place is None:
            raise ValueError(f"{what} has no {CONFIG}; {self.hint}")
        own = [name.removeprefix(place) for name in names if name.rpartition("/")[0] == place.rstrip("/")]
        weights = self._weights(own, f"{what.rstrip('/')}/{place}")
        return [f"{place}{name}" for name in (CONFIG, *weights)]

    @property
    def hint(self) -> str:
        return (
            f"give a folder with {CONFIG} and *.safetensors of diffusers' {', '.join(self.classes)}, one of a"
            " pipeline that has such a part, or owner/name of a model on the hub"
        )

    def _folder(self, weights: str) -> Path | None:
        """The folder itself, or the hub's of that name if it is there with all of its files."""
        path = Path(weights).expanduser()
        if path.is_dir():
            return path
        if path.exists() or not hub.is_name(weights):
            raise ValueError(f"{weights} is no folder; {self.hint}")
        cached = hub.cached(weights)
        try:
            return cached if cached is not None and self.chosen(self._names(cached), weights) else None
        except ValueError:
            return None  # begun, or fetched in part by another program

    def _names(self, folder: Path) -> list[str]:
        """The files that lie where it may lie."""
        return [
            f"{place}{file.name}"
            for place in self.places
            if (folder / place).is_dir()
            for file in sorted((folder / place).iterdir())
            if file.is_file()
        ]

    def _weights(self, names: list[str], what: str) -> list[str]:
        tensors = sorted(name for name in names if name.endswith(".safetensors"))
        shards = [name for name in tensors if _SHARD.fullmatch(name)]
        named = [name for name in WEIGHTS if name in tensors]
        if named:
            return named[:1]
        if shards:
            if any(int(_SHARD.sub(r"\1", name)) != len(shards) for name in shards):
                raise ValueError(
                    f"{what} has only {len(shards)} of the parts of its weights; copy all of them"
                )
            return shards
        if len(tensors) > 1:
            raise ValueError(
                f"{what} has several files of weights, {', '.join(tensors)}; call one of them {WEIGHTS[0]}"
            )
        pickled = next((name for name in sorted(names) if name.endswith(_PICKLED)), None)
        if not tensors and pickled:
            first, *others = self.classes
            raise ValueError(
                f"{what} has its weights in {pickled}, which can hold code and is never read; if you trust"
                f' it, convert it: python -c "from diffusers import {first} as M;'
                f" M.from_pretrained('FOLDER').save_pretrained('NEW')\" (or {', '.join(others)})"
            )
        if not tensors:
            raise ValueError(f"{what} has no *.safetensors; {self.hint}")
        return tensors


def read_config(file: Path) -> Mapping[str, Any]:
    """The settings in a JSON file of diffusers; ValueError where there are none."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read ({error})") from error
    if not isinstance(said, Mapping):
        raise ValueError(f"{file} must hold the settings of a model by name")
    return said
