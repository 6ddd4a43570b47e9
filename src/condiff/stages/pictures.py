"""Pictures between stages: uint8 in a safetensors file."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from condiff.data.sides import OF_CLASS
from condiff.files import written_whole


def save_pictures(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """What ``as_stored`` makes of them."""
    plain = {name: value.cpu().contiguous() for name, value in as_stored(tensors).items()}
    with written_whole(path) as temporary:
        save_file(plain, temporary)


def as_stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Pictures, [N, C, H, W] in [-1, 1], as uint8; integers, such as labels, [N], as they are."""
    return {name: to_uint8(value) if value.is_floating_point() else value for name, value in tensors.items()}


def load_pictures(path: Path) -> dict[str, Tensor]:
    """What was saved: pictures are [N, C, H, W] uint8."""
    return load_file(path)


def num_pictures(path: Path) -> int:
    with safe_open(path, "pt") as stored:
        return stored.get_slice("image").get_shape()[0]


def load_share(path: Path, share: range) -> dict[str, Tensor]:
    """Of what was saved some rows, which are all that is read."""
    with safe_open(path, "pt") as stored:
        names = stored.keys()
        return {name: stored.get_slice(name)[share.start : share.stop] for name in names}


def load_asked(path: Path) -> dict[str, Tensor]:
    """What was saved but the pictures that were made."""
    with safe_open(path, "pt") as stored:
        asked = [name for name in stored.keys() if name not in ("image", *OF_CLASS)]  # noqa: SIM118
        return {name: stored.get_tensor(name) for name in asked}


def to_uint8(images: Tensor) -> Tensor:
    """[-1, 1] to 0..255, rounded to the nearest."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def from_uint8(images: Tensor) -> Tensor:
    """0..255 to [-1, 1]."""
    return images.float() / 127.5 - 1
