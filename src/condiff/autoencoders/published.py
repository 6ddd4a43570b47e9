"""A published autoencoder of diffusers: where it lies, which files it is, what it says of itself; no torch.

Nothing is executed: its shape is read from config.json and its weights from safetensors, and whatever else
lies beside them is left alone.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condiff.autoencoders import hub
from condiff.autoencoders.published_settings import KINDS, read_settings

CONFIG = "config.json"
WEIGHTS = ("diffusion_pytorch_model.safetensors", "weights.safetensors")  # diffusers' name; of our artifacts
PLACES = (
    "",
    "vae/",
    "vqvae/",
    "movq/",
)  # in a folder: all of it, or a part of a pipeline
_SHARD = re.compile(r"diffusion_pytorch_model-\d{5}-of-(\d{5})\.safetensors")
_PICKLED = (".bin", ".ckpt", ".pt", ".pth")
_HINT = (
    f"give a folder with {CONFIG} and *.safetensors of diffusers' {', '.join(KINDS)}, one of a pipeline"
    " that has such a part, or owner/name of a model on the hub"
)


@dataclass(frozen=True)
class Published:
    """An autoencoder whose weights are not read yet.

    kind: its class in diffusers. settings: every argument of that class that counts, given or by default.
    """

    config: Mapping[str, Any]
    kind: str
    settings: Mapping[str, Any]
    folder: Path
    weights: tuple[Path, ...]

    @property
    def files(self) -> list[Path]:
        """All that it is made of."""
        return [self.folder / CONFIG, *self.weights]

    @property
    def channels(self) -> int:
        return self.settings["in_channels"]

    @property
    def downsampling(self) -> int:
        levels = "num_encoder_blocks" if self.kind == "AutoencoderTiny" else "block_out_channels"
        return 2 ** (len(self.settings[levels]) - 1)

    def fit(self, channels: int) -> None:
        """ValueError for pictures of so many channels that it cannot be given; grey becomes three alike."""
        if channels == self.channels or (channels, self.channels) == (1, 3):
            return
        raise ValueError(
            f"{self.folder} is for pictures of {self.channels} {_plural('channel', self.channels)}, and those"
            f" of the data have {channels}; use another, pictures of {self.channels}, or train one with"
            " autoencoder=compact_kl"
        )


def found(weights: str) -> Published:
    """What ``weights`` names: a folder, or a model of the hub that lies in its local cache.

    ValueError, without the key, where it is not there, not complete or not understood.
    """
    folder = _folder(weights)
    if folder is None:
        raise ValueError(f"{weights} is no folder, and not in the hub's local cache either; {_HINT}")
    return _read(folder)


def fetched(weights: str) -> Published:
    """The same, but a model of the hub that is not there is downloaded, as it was asked for by name."""
    if _folder(weights) is None:
        hub.download(weights, _chosen)
    return found(weights)


def _folder(weights: str) -> Path | None:
    """The folder itself, or the hub's of that name if it is there with all of its files."""
    path = Path(weights).expanduser()
    if path.is_dir():
        return path
    if path.exists() or not hub.is_name(weights):
        raise ValueError(f"{weights} is no folder; {_HINT}")
    cached = hub.cached(weights)
    try:
        return cached if cached is not None and _chosen(_names(cached), weights) else None
    except ValueError:
        return None  # begun, or fetched in part by another program


def _read(folder: Path) -> Published:
    config, *weights = (folder / name for name in _chosen(_names(folder), str(folder)))
    try:
        said = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{config} cannot be read ({error})") from error
    if not isinstance(said, Mapping):
        raise ValueError(f"{config} must hold the settings of a model by name")
    kind, settings = read_settings(said, str(config))
    return Published(said, kind, settings, config.parent, tuple(weights))


def _names(folder: Path) -> list[str]:
    """The files that lie where an autoencoder may lie."""
    return [
        f"{place}{file.name}"
        for place in PLACES
        if (folder / place).is_dir()
        for file in sorted((folder / place).iterdir())
        if file.is_file()
    ]


def _chosen(names: Collection[str], what: str) -> list[str]:
    """Of the files of a model, its config and then those of its weights; ValueError where it has none."""
    place = next((place for place in PLACES if f"{place}{CONFIG}" in names), None)
    if place is None:
        raise ValueError(f"{what} has no {CONFIG}; {_HINT}")
    own = [name.removeprefix(place) for name in names if name.rpartition("/")[0] == place.rstrip("/")]
    return [f"{place}{name}" for name in (CONFIG, *_weights(own, f"{what.rstrip('/')}/{place}"))]


def _weights(names: list[str], what: str) -> list[str]:
    tensors = sorted(name for name in names if name.endswith(".safetensors"))
    shards = [name for name in tensors if _SHARD.fullmatch(name)]
    named = [name for name in WEIGHTS if name in tensors]
    if named:
        return named[:1]
    if shards:
        if any(int(_SHARD.sub(r"\1", name)) != len(shards) for name in shards):
            raise ValueError(f"{what} has only {len(shards)} of the parts of its weights; copy all of them")
        return shards
    if len(tensors) > 1:
        raise ValueError(
            f"{what} has several files of weights, {', '.join(tensors)}; call one of them {WEIGHTS[0]}"
        )
    pickled = next((name for name in sorted(names) if name.endswith(_PICKLED)), None)
    if not tensors and pickled:
        raise ValueError(
            f"{what} has its weights in {pickled}, which can hold code and is never read; if you trust it,"
            " convert it: python -c \"from diffusers import AutoencoderKL as M; M.from_pretrained('FOLDER')"
            ".save_pretrained('NEW')\" (or VQModel, AutoencoderTiny)"
        )
    if not tensors:
        raise ValueError(f"{what} has no *.safetensors; {_HINT}")
    return tensors


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
