"""Adapters as peft saves them: a folder with settings and tensors for each network.

One of several parts has a folder in it for each, by the part's name.
"""

import json
from pathlib import Path
from typing import Any

from condiff.adapters import about
from condiff.adapters.adapter import Adapter
from condiff.adapters.base import Base, foreign_names
from condiff.adapters.diffusers_file import placed
from condiff.adapters.halves import Halves, made_whole, sorted_by_layer
from condiff.adapters.peft_settings import Settings, peft_tensors, settings_of
from condiff.adapters.tensor_files import read_tensors, write_tensors
from condiff.files import write_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_FRONT = "base_model.model."
_PART = "condiff_part"  # in the header of its file of weights: peft has no word for it


def folders(path: Path) -> list[Path]:
    """The folders of single networks: itself, or those in it."""
    if (path / CONFIG).is_file():
        return [path]
    return sorted(file.parent for file in path.glob(f"*/{CONFIG}"))


def read(path: Path, base: Base) -> Adapter:
    """The adapter in a folder; ValueError in one line where it is not whole or does not fit the base."""
    inside = folders(path)
    if not inside:
        raise ValueError(f"{path}: it has no {CONFIG}, nor has a folder in it; give one that peft has saved")
    adapters = [_of_one_network(folder, base, None if folder == path else folder.name) for folder in inside]
    layers = {name: layer for adapter in adapters for name, layer in adapter.layers.items()}
    bases = {part: digest for adapter in adapters for part, digest in adapter.base.items()}
    adapter = Adapter(layers, bases, adapters[0].trigger)
    base.check(adapter, str(path))
    return adapter


def write(path: Path, adapter: Adapter, base: Base) -> None:
    """Folders that ``PeftModel.from_pretrained`` reads; of a single network there is one, the path itself."""
    base.check(adapter, str(path))
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path}: is there already; peft's format is a folder, give the name of a new one")
    parts = adapter.parts()
    for part, layers in parts.items():
        folder = path if len(parts) == 1 else path / part
        others = [name.partition(".")[2] for name in base.shapes if name.partition(".")[0] == part]
        tensors = {f"{_FRONT}{name}": tensor for name, tensor in peft_tensors(layers).items()}
        own = Adapter(
            {f"{part}.{name}": layer for name, layer in layers.items()}, adapter.base, adapter.trigger
        )
        write_tensors(folder / WEIGHTS, tensors, {**about.header_of(own), _PART: part})
        write_json(
            folder / CONFIG,
            {
                "peft_type": "LORA",
                "task_type": None,
                "base_model_name_or_path": None,
                "inference_mode": True,
                "bias": "none",
                "fan_in_fan_out": False,
                "lora_dropout": 0.0,
                **settings_of(layers, others),
            },
        )


def _of_one_network(folder: Path, base: Base, named: str | None) -> Adapter:
    """named: the part that its folder is called by, if it is one of several."""
    what = str(folder)
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"{what}: it has no {WEIGHTS}, the only file of weights that is read there")
    tensors, header = read_tensors(folder / WEIGHTS)
    settings = Settings.read(_settings(folder / CONFIG), f"{folder / CONFIG}")
    wrong = [key for key in tensors if not key.startswith(_FRONT)]
    if wrong:
        raise ValueError(
            f"{what}: {len(wrong)} of {len(tensors)} keys have a wrong prefix, {wrong[0]} for one; peft's"
            f" begin with {_FRONT}"
        )
    bare = {key.removeprefix(_FRONT): tensor for key, tensor in tensors.items()}
    found = sorted_by_layer(bare, placed, what)
    part = named or header.get(_PART) or _only_part(found, base, what)
    there = base.own_names([f"{part}.{name}" for name in found], what)
    names = {own: [name.partition(".")[2] for name in (name, own)] for own, name in there.items()}
    own = {name: found[called] for name, (called, _) in names.items()}
    layers = made_whole(own, lambda name, rank: settings.alpha_of(names[name], rank), what)
    adapter = Adapter(layers, *about.told(header, what))
    base.check(adapter, what)
    for name, layer in layers.items():
        settings.check(names[name], layer, what)
    about.check_told(adapter, header, what)
    return adapter


def _only_part(found: Halves, base: Base, what: str) -> str:
    """The part of the base that has all of these layers; peft does not write which it was."""
    foreign = {
        part: [name for name in found if base.own_name(f"{part}.{name}") not in base.shapes]
        for part in base.parts
    }
    fitting = [part for part, names in foreign.items() if not names]
    if len(fitting) > 1:
        raise ValueError(
            f"{what}: its {len(found)} layers are in each of {', '.join(fitting)}; put it into a folder"
            " of the name of its part"
        )
    if not fitting:
        least = min(foreign.values(), key=len)
        raise ValueError(f"{what}: {foreign_names(least, len(found), base.parts)}")
    return fitting[0]


def _settings(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); copy it again") from error
    if not isinstance(said, dict):
        raise ValueError(f"{path}: must hold settings by name")
    return said
