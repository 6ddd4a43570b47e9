"""Tensors of a file, sorted by layer, made whole: each layer has a down, an up and an alpha."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from condiff.adapters.adapter import Layer

DOWN, UP, ALPHA, MAGNITUDE = "down", "up", "alpha", "magnitude"
Halves = dict[str, dict[str, Tensor]]


def sorted_by_layer(
    tensors: Mapping[str, Tensor], placed: Callable[[str], tuple[str, str] | None], what: str
) -> Halves:
    """By layer and kind, which ``placed`` knows of a key; ValueError of keys that it does not know.

    Two keys of the same tensor are refused as well: which of them counts is a guess.
    """
    found: Halves = {}
    strange, twice = [], []
    for key, tensor in tensors.items():
        place = placed(key)
        if place is None:
            strange.append(key)
        elif place[1] in found.setdefault(place[0], {}):
            twice.append(key)
        else:
            found[place[0]][place[1]] = tensor
    if strange:
        raise ValueError(
            f"{what}: {len(strange)} of {len(tensors)} keys are no part of a LoRA, {strange[0]} for one;"
            " LoHa, LoKr, biases and whole weights are not read"
        )
    if twice:
        raise ValueError(f"{what}: {len(twice)} keys say a layer again, {twice[0]} for one; remove them")
    return found


def made_whole(found: Halves, alpha: Callable[[str, int], float | None], what: str) -> dict[str, Layer]:
    """Layers, in float32 at least; ``alpha`` is asked for by name and rank where the file has no tensor.

    Half precision is how a file is kept: a product of such matrices, rounded to it, is not what they say.
    """
    _refuse_halves(found, what)
    layers: dict[str, Layer] = {}
    lacking = []
    for name, kinds in found.items():
        down, up = _wide(kinds[DOWN]), _wide(kinds[UP])
        said = _number(kinds[ALPHA], name, what) if ALPHA in kinds else alpha(name, down.shape[0])
        if said is None:
            lacking.append(name)
            continue
        magnitude = _wide(kinds[MAGNITUDE]).flatten() if MAGNITUDE in kinds else None
        layers[name] = Layer(down, up, said, magnitude)
    if lacking:
        raise ValueError(
            f"{what}: {len(lacking)} of {len(found)} layers have no alpha, {lacking[0]} for one, so their"
            " scale is not known; export it again with alpha"
        )
    return layers


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _refuse_halves(found: Halves, what: str) -> None:
    half = [name for name, kinds in found.items() if not {DOWN, UP} <= kinds.keys()]
    if half:
        there = ", ".join(sorted(found[half[0]]))
        raise ValueError(
            f"{what}: {len(half)} of {len(found)} layers lack a half, {half[0]} has only {there};"
            " it is not complete, copy or export it again"
        )
    flat = [name for name, kinds in found.items() if min(kinds[DOWN].dim(), kinds[UP].dim()) < 2]
    if flat:
        raise ValueError(
            f"{what}: {len(flat)} of {len(found)} layers are no matrices, {flat[0]} for one; its training"
            " saved shards of them"
        )


def _number(tensor: Tensor, name: str, what: str) -> float:
    if tensor.numel() != 1:
        raise ValueError(f"{what}: the alpha of {name} has {tensor.numel()} values, not one")
    return float(tensor)
