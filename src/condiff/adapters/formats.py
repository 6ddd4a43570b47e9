"""Files of adapters in every format: which one a file is, what is in it, and how it is written."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from condiff.adapters import diffusers_file, kohya, peft_folder
from condiff.adapters.adapter import Adapter
from condiff.adapters.base import Base
from condiff.adapters.tensor_files import read_names

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Format:
    """read: of a place and a base. write: to a place, for a base. Both refuse what does not fit."""

    read: Callable[[Path, Base], Adapter]
    write: Callable[[Path, Adapter, Base], None]


FORMATS = {
    "diffusers": Format(diffusers_file.read, diffusers_file.write),
    "kohya": Format(kohya.read, kohya.write),
    "peft": Format(peft_folder.read, peft_folder.write),
}


def detect(path: Path) -> str:
    """The name of the format of a file or folder, without reading its tensors; ValueError of none of them."""
    if path.is_dir():
        if peft_folder.folders(path):
            return "peft"
        raise ValueError(f"{path}: it is no folder of peft, with {peft_folder.CONFIG}; give a file in it")
    keys = read_names(path)
    if any(kohya.is_key(key) for key in keys):
        return "kohya"
    if any(diffusers_file.is_key(key) for key in keys):
        return "diffusers"
    raise ValueError(
        f"{path}: none of its {len(keys)} keys is of a LoRA of diffusers, kohya or peft"
        f"{f', {keys[0]} for one' if keys else ''}"
    )


def has_text(path: Path) -> bool:
    """Whether what is there changes text encoders, too, by the names in it."""
    if path.is_dir():
        return any(folder.name.startswith("text_encoder") for folder in peft_folder.folders(path))
    return any(key.startswith(("text_encoder", "lora_te")) for key in read_names(path))


def read(path: Path, base: Base) -> Adapter:
    """What is there, in whatever format; ValueError in one line if it is not whole or not of this base."""
    return FORMATS[detect(path)].read(path, base)


def load(path: Path, base: Base) -> Adapter:
    """The same, to be used.

    One without a hash of its base, as other programs write it, fits any of the same shapes, which is said.
    """
    adapter = read(path, base)
    unknown = sum(len(layers) for part, layers in adapter.parts().items() if part not in adapter.base)
    if unknown:
        log.warning("%s: no hash of its base; %d layers fit by shape", path, unknown)
    return adapter


def export(adapter: Adapter, path: Path, base: Base, name: str) -> None:
    """Write to a file of safetensors, or with ``peft`` to a folder, in the format of this name."""
    if name not in FORMATS:
        raise ValueError(f"{path}: there is no format {name}; choose one of {', '.join(FORMATS)}")
    FORMATS[name].write(path, adapter, base)
