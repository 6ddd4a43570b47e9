"""Adapters as diffusers writes them: one file for all parts of a pipeline, each with its name in front.

Three spellings are read. Today's is peft's, with ``lora_adapter_metadata`` in the header, without which alpha
is the rank (diffusers, get_peft_kwargs), which is said; the older ones have ``lora.down``,
``lora_linear_layer.down`` or ``processor.to_q_lora.down``.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from condiff.adapters import about
from condiff.adapters.adapter import Adapter, Layer
from condiff.adapters.base import Base
from condiff.adapters.halves import ALPHA, DOWN, MAGNITUDE, UP, Halves, made_whole, sorted_by_layer
from condiff.adapters.peft_settings import Settings, peft_tensors, settings_of
from condiff.adapters.tensor_files import read_tensors, write_tensors

log = logging.getLogger(__name__)
HEADER = "lora_adapter_metadata"
_PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")
_KINDS = {"lora_A": DOWN, "lora_B": UP, "down": DOWN, "up": UP}
_BARE = ".lora_magnitude_vector"
_MATRIX = re.compile(r"(.+)\.(?:(lora_A|lora_B)|(?:lora|lora_linear_layer)\.(down|up))\.weight")
_OLD = re.compile(r"(.+?)(?:\.processor)?\.to_(q|k|v|out)_lora\.(down|up)\.weight")
_OTHER = re.compile(r"(.+)\.(?:(lora_magnitude_vector)(?:\.weight)?|alpha)")


def is_key(key: str) -> bool:
    """Whether it is of a half of a layer, however spelt."""
    place = placed(key)
    return place is not None and place[1] in (DOWN, UP)


def read(path: Path, base: Base) -> Adapter:
    """The adapter in a file; ValueError in one line where it is not whole or does not fit the base."""
    tensors, header = read_tensors(path)
    what = str(path)
    found = _with_parts(sorted_by_layer(tensors, placed, what), base, what)
    settings = _settings(header, {name.partition(".")[0] for name in found}, what)
    called = base.own_names(found, what)
    own = {name: found[there] for name, there in called.items()}
    layers = made_whole(own, lambda name, rank: _alpha(settings, (called[name], name), rank), what)
    adapter = Adapter(layers, *about.told(header, what))
    base.check(adapter, what)
    _say_assumed([name for name, kinds in own.items() if not settings and ALPHA not in kinds], len(own), what)
    for name, layer in layers.items():
        if of := settings.get(name.partition(".")[0]):
            of.check([_module(called[name]), _module(name)], layer, what)
    about.check_told(adapter, header, what)
    return adapter


def write(path: Path, adapter: Adapter, base: Base) -> None:
    """A file that ``load_lora_weights`` reads, of diffusers with transformers 4 or 5."""
    base.check(adapter, str(path))
    tensors, settings = {}, {}
    for part, layers in adapter.parts().items():
        text = part.startswith("text_encoder")
        bare = {bare_name(name) if text else name: layer for name, layer in layers.items()}
        others = [name.partition(".")[2] for name in base.shapes if name.partition(".")[0] == part]
        said = settings_of(bare, [bare_name(name) if text else name for name in others], anchored=not text)
        settings |= {f"{part}.{key}": value for key, value in said.items()}
        own = _for_text(layers) if text else peft_tensors(layers)
        tensors |= {f"{part}.{key}": tensor for key, tensor in own.items()}
    header = {HEADER: json.dumps(settings, indent=2, sort_keys=True), **about.header_of(adapter)}
    write_tensors(path, tensors, header)


def placed(key: str) -> tuple[str, str] | None:
    """The layer of a key, with whatever stands in front, and what the tensor is of it."""
    if found := _MATRIX.fullmatch(key):
        return found[1].replace(".processor.", "."), _KINDS[found[2] or found[3]]
    if found := _OLD.fullmatch(key):
        return f"{found[1]}.{_old_name(found[1], found[2])}", _KINDS[found[3]]
    if found := _OTHER.fullmatch(key):
        layer = re.sub(r"\.processor$|(?<=\.)processor\.", "", found[1])
        return layer, MAGNITUDE if found[2] else ALPHA
    return None


def _for_text(layers: Mapping[str, Layer]) -> dict[str, Tensor]:
    """Tensors by the keys with which transformers finds all of them; a bare magnitude it leaves out."""
    tensors = peft_tensors({full_name(name): layer for name, layer in layers.items()})
    return {f"{key}.weight" if key.endswith(_BARE) else key: tensor for key, tensor in tensors.items()}


def full_name(module: str) -> str:
    """A layer of CLIP's text model as transformers 4 calls it; 5 has it without the first word."""
    return f"text_model.{module}" if module.startswith("encoder.layers.") else module


def bare_name(module: str) -> str:
    """A layer of CLIP's text model without the word that only some versions have."""
    return module.removeprefix("text_model.")


def _with_parts(found: Halves, base: Base, what: str) -> Halves:
    """Layers with the part of the base in front, which a file of a single network may not have."""
    wrong = [name for name in found if name.partition(".")[0] not in {*_PARTS, *base.parts}]
    if not wrong:
        return found
    fitting = [
        part for part in base.parts if all(base.own_name(f"{part}.{name}") in base.shapes for name in found)
    ]
    if len(wrong) == len(found) and len(fitting) == 1:
        return {f"{fitting[0]}.{name}": kinds for name, kinds in found.items()}
    raise ValueError(
        f"{what}: {len(wrong)} of {len(found)} layers have a wrong prefix, {wrong[0]} for one; names begin"
        f" with a part of the base, which is {', '.join(f'{part}.' for part in base.parts)}"
    )


def _settings(header: Mapping[str, str], parts: set[str], what: str) -> dict[str, Settings]:
    """By part, or none where the file says nothing; a file of one network has them without its name."""
    if HEADER not in header:
        return {}
    said = about.parsed(header[HEADER], f"{what}: {HEADER}")
    if "r" in said and len(parts) == 1:
        return {part: Settings.read(said, what) for part in parts}
    lacking = [part for part in sorted(parts) if f"{part}.r" not in said]
    if lacking:
        raise ValueError(f"{what}: {HEADER} in its header has no {lacking[0]}.r, and there are layers of it")
    return {part: Settings.read(_below(said, f"{part}."), what) for part in parts}


def _below(said: Mapping[str, Any], start: str) -> dict[str, Any]:
    return {key.removeprefix(start): value for key, value in said.items() if key.startswith(start)}


def _say_assumed(names: Sequence[str], total: int, what: str) -> None:
    if names:
        log.warning(
            "%s: %d of %d layers say no alpha, %s for one; it is taken to be the rank, as diffusers takes it",
            *(what, len(names), total, names[0]),
        )


def _alpha(settings: Mapping[str, Settings], names: tuple[str, ...], rank: int) -> float | None:
    of = settings.get(names[-1].partition(".")[0])
    return float(rank) if of is None else of.alpha_of([_module(name) for name in names], rank)


def _module(name: str) -> str:
    return name.partition(".")[2]


def _old_name(above: str, letter: str) -> str:
    if above.startswith("text_encoder"):
        return f"{letter}_proj"
    return "to_out.0" if letter == "out" else f"to_{letter}"
