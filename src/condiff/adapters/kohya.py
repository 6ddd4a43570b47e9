"""Adapters as kohya's trainer writes them, which most programs read: a file with an alpha for each layer.

One alpha is written for all layers, with the rest in ``up``: diffusers 0.42 takes the most frequent alpha for
all. DoRA's magnitude is ``dora_scale``, which diffusers leaves out with a warning. A transformer (SD3) is
neither read nor written so: kohya's files of it have query, key and value in one matrix, and diffusers reads
none.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from condiff.adapters import about, kohya_names
from condiff.adapters.adapter import Adapter, Layer
from condiff.adapters.base import Base, foreign_names
from condiff.adapters.halves import ALPHA, DOWN, MAGNITUDE, UP, Halves, made_whole, sorted_by_layer
from condiff.adapters.tensor_files import read_tensors, write_tensors

_KINDS = {"lora_down.weight": DOWN, "lora_up.weight": UP, "alpha": ALPHA, "dora_scale": MAGNITUDE}
_DIM, _ALPHA, _ARGS = "ss_network_dim", "ss_network_alpha", "ss_network_args"
_OF_SD3 = "lora_te3_"
_VARIED = ("block_dims", "conv_block_dims", "network_reg_dims")  # ranks that differ by place


def is_key(key: str) -> bool:
    return key.startswith(("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_", _OF_SD3))


def read(path: Path, base: Base) -> Adapter:
    """The adapter in a file; ValueError in one line where it is not whole or does not fit the base."""
    tensors, header = read_tensors(path)
    what = str(path)
    _refuse_transformers(tensors, base, what)
    foreign = [key for key in tensors if not is_key(key)]
    if foreign:
        raise ValueError(
            f"{what}: {len(foreign)} of {len(tensors)} keys have a wrong prefix, {foreign[0]} for one;"
            " kohya's begin with lora_unet_, lora_te_, lora_te1_ or lora_te2_"
        )
    found = _on_the_base(sorted_by_layer(tensors, placed, what), base, what)
    _check_magnitudes(found, what)
    layers = made_whole(found, lambda name, rank: None, what)
    adapter = Adapter(layers, *about.told(header, what))
    base.check(adapter, what)
    _check_dim(adapter, header, what)
    about.check_told(adapter, header, what)
    return adapter


def write(path: Path, adapter: Adapter, base: Base) -> None:
    """A file that ``load_lora_weights`` and other programs read."""
    base.check(adapter, str(path))
    names, meant = kohya_names.written(base), kohya_names.meant(base)
    lost = [name for name in adapter.layers if len(meant.get(names.get(name, ""), ())) != 1]
    if lost:
        raise ValueError(
            f"{path}: {len(lost)} of {len(adapter.layers)} layers have no name of their own in kohya's"
            f" format, {lost[0]} for one; export them as diffusers or peft"
        )
    tensors: dict[str, Tensor] = {}
    even = _with_one_alpha(adapter)
    for name, layer in even.layers.items():
        tensors[f"{names[name]}.lora_down.weight"] = layer.down
        tensors[f"{names[name]}.lora_up.weight"] = layer.up
        tensors[f"{names[name]}.alpha"] = torch.tensor(float(layer.alpha))
        if layer.magnitude is not None:
            ones = (1 for _ in layer.down.shape[1:])
            tensors[f"{names[name]}.dora_scale"] = layer.magnitude.reshape(-1, *ones)
    write_tensors(path, tensors, {**_header(even), **about.header_of(adapter)})


def placed(key: str) -> tuple[str, str] | None:
    """The name in front of the first dot, and what the tensor is."""
    name, _, kind = key.partition(".")
    return (name, _KINDS[kind]) if kind in _KINDS else None


def _on_the_base(found: Halves, base: Base, what: str) -> Halves:
    """By the base's own names; ValueError of names that it does not know, or that say a layer twice."""
    meant = kohya_names.meant(base)
    foreign = [name for name in found if name not in meant]
    if foreign:
        raise ValueError(f"{what}: {foreign_names(foreign, len(found), base.parts)}")
    unclear = [name for name in found if len(meant[name]) > 1]
    if unclear:
        raise ValueError(
            f"{what}: {len(unclear)} of {len(found)} layers can each be two of the base, {unclear[0]} for"
            f" one: {' or '.join(meant[unclear[0]])}"
        )
    own = {meant[name][0]: kinds for name, kinds in found.items()}
    if len(own) < len(found):
        raise ValueError(f"{what}: {len(found) - len(own)} layers are there by two names; remove one of them")
    return own


def _refuse_transformers(keys: Collection[str], base: Base, what: str) -> None:
    """Also of a file of SD3's third text alone, whatever the base is."""
    third = [key for key in keys if key.startswith(_OF_SD3)]
    if third or "transformer" in base.parts:
        raise ValueError(
            f"{what}: its {len(keys)} tensors are as kohya's programs have them, which is not read for a"
            " Stable Diffusion 3; give it as diffusers or peft has it"
        )


def _check_magnitudes(found: Halves, what: str) -> None:
    """LyCORIS can also scale columns ([1, in]), which is another network (its wd_on_output)."""
    wrong = [
        name
        for name, kinds in found.items()
        if MAGNITUDE in kinds and UP in kinds and not _is_of_rows(kinds[MAGNITUDE], kinds[UP].shape[0])
    ]
    if wrong:
        raise ValueError(
            f"{what}: {len(wrong)} of {len(found)} layers have a dora_scale of columns, {wrong[0]} for one;"
            " only that of rows is read (LyCORIS: wd_on_output)"
        )


def _is_of_rows(magnitude: Tensor, rows: int) -> bool:
    """[out], [out, 1], [out, 1, 1, 1], or peft's [1, out, 1, 1] that diffusers' conversion leaves."""
    shape = magnitude.shape
    return magnitude.numel() == rows and (shape[0] == rows or (len(shape) == 4 and shape[1] == rows))


def _check_dim(adapter: Adapter, header: Mapping[str, str], what: str) -> None:
    """ValueError if the header says one rank for all layers and they have another."""
    try:
        args = json.loads(header.get(_ARGS) or "{}")
    except ValueError:
        args = {}
    args = args if isinstance(args, dict) else {}
    if any(name in args for name in _VARIED):
        return
    for of_kernels, said in ((False, header.get(_DIM)), (True, args.get("conv_dim"))):
        if not str(said).isdigit():
            continue  # not said, or "Dynamic" after a resize
        layers = {name: at for name, at in adapter.layers.items() if _has_kernel(at) == of_kernels}
        other = [name for name, layer in layers.items() if layer.rank != int(str(said))]
        if other:
            raise ValueError(
                f"{what}: {len(other)} of {len(layers)} layers have another rank than the {said} that its"
                f" header says, {other[0]} has {layers[other[0]].rank}"
            )


def _has_kernel(layer: Layer) -> bool:
    return any(size > 1 for size in layer.down.shape[2:])


def _with_one_alpha(adapter: Adapter) -> Adapter:
    """The same change with the most frequent alpha everywhere."""
    alpha = Counter(layer.alpha for layer in adapter.layers.values()).most_common(1)[0][0]
    layers = {
        name: replace(layer, alpha=alpha, up=layer.up * (layer.alpha / alpha))
        for name, layer in adapter.layers.items()
    }
    return replace(adapter, layers=layers)


def _header(adapter: Adapter) -> dict[str, str]:
    """Rank and alpha as kohya's programs show them."""
    plain = [layer for layer in adapter.layers.values() if not _has_kernel(layer)]
    kernels = [layer for layer in adapter.layers.values() if _has_kernel(layer)]
    args = {"conv_dim": _one(kernels, "rank"), "conv_alpha": _one(kernels, "alpha")} if kernels else {}
    return {
        "ss_network_module": "networks.lora",
        _DIM: _one(plain, "rank"),
        _ALPHA: _one(plain, "alpha"),
        **({_ARGS: json.dumps(args)} if args else {}),
    }


def _one(layers: list[Layer], what: str) -> str:
    """The value that all have, as text; Dynamic where there are several, as kohya's resizing says."""
    values = {layer.rank if what == "rank" else layer.alpha for layer in layers}
    return f"{values.pop():g}" if len(values) == 1 else "Dynamic"
