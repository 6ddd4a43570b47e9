"""Pictures between stages: uint8 in a safetensors file."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from condiff.files import written_whole


def save_pictures(path: Path, images: Tensor, label: Tensor | None = None) -> None:
    """images, [N, C, H, W] in [-1, 1], as uint8; label, [N] int64."""
    tensors = {"image": to_uint8(images).cpu().contiguous()}
    if label is not None:
        tensors["label"] = label.cpu().contiguous()
    with written_whole(path) as temporary:
        save_file(tensors, temporary)


def load_pictures(path: Path) -> dict[str, Tensor]:
    """ "image", [N, C, H, W] uint8, and "label", [N], where there are labels."""
    return load_file(path)


def to_uint8(images: Tensor) -> Tensor:
    """[-1, 1] to 0..255, rounded to the nearest."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def from_uint8(images: Tensor) -> Tensor:
    """0..255 to [-1, 1]."""
    return images.float() / 127.5 - 1
