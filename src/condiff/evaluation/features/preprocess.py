"""How pictures become what a feature network is shown: bytes, a size, a scale.

Every protocol here is one that published numbers were made with. The same pictures through the same
network give other distances under another one, so each says in its name what it does.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate


class Quantize(ABC):
    """Floats in [-1, 1] to the 256 values of a byte, still as floats."""

    name: str

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor: ...


class Rounded(Quantize):
    """To the nearest: pictures that were bytes are those bytes again."""

    name = "rounded"

    def __call__(self, images: Tensor) -> Tensor:
        return ((images + 1) * 127.5).clamp(0, 255).round()


class ADMTruncated(Quantize):
    """(x + 1) 127.5, cut off: guided-diffusion's. Only for floats of a sampler.

    Of pictures that were bytes before, float32 rounding makes it darken some by one.
    """

    name = "truncated as ADM"

    def __call__(self, images: Tensor) -> Tensor:
        return ((images + 1) * 127.5).clamp(0, 255).floor()


class EDM2Truncated(Quantize):
    """127.5 x + 128, cut off: EDM2's. It differs from rounding at most by halves and at the ends."""

    name = "truncated as EDM2"

    def __call__(self, images: Tensor) -> Tensor:
        return (images * 127.5 + 128).clamp(0, 255).floor()


class Preprocess(ABC):
    """Images, [B, C, H, W] in [-1, 1], to [B, 3, size, size] around 0; grey is repeated.

    quantize: ``Rounded`` where nothing is said.
    """

    name: str  # the protocol, and its resize
    called = ""  # what an FID after it must be called beside, since it is another number
    centre = 127.5  # of the bytes b: the network sees (b - centre) / centre

    def __init__(self, quantize: Quantize | None = None) -> None:
        self.quantize = quantize or Rounded()

    def __call__(self, images: Tensor, size: int) -> Tensor:
        pixels = self.resized(self.quantize(as_rgb(images).float()), size)
        return (pixels - self.centre) / self.centre

    def described(self, size: int) -> str:
        return f"{self.name} to {size} px, bytes {self.quantize.name}"

    @abstractmethod
    def resized(self, pixels: Tensor, size: int) -> Tensor:
        """[B, 3, size, size] of pixels, [B, 3, H, W] in 0..255."""


class Fid(Preprocess):
    """What the graph of 2015 does itself: as in TTUR, ADM's and EDM's evaluation, and torch-fidelity."""

    name = "fid: TensorFlow 1 bilinear"
    centre = 128.0

    def resized(self, pixels: Tensor, size: int) -> Tensor:
        return tensorflow_bilinear(pixels, size)


class PytorchFid(Preprocess):
    """pytorch-fid's: half-pixel centres and no antialiasing, and another scale than the graph's."""

    called = "pytorch"
    name = "pytorch_fid: bilinear"

    def resized(self, pixels: Tensor, size: int) -> Tensor:
        return interpolate(pixels, (size, size), mode="bilinear", align_corners=False)


class CleanFid(Preprocess):
    """Antialiased bicubic as Pillow's, in floats and not rounded after (Parmar 2022, sec. 3)."""

    called = "clean"
    name = "clean_fid: antialiased bicubic"
    centre = 128.0

    def resized(self, pixels: Tensor, size: int) -> Tensor:
        return antialiased(pixels, size, "bicubic")


class Torchmetrics(Preprocess):
    """torchmetrics' since 1.9, where antialiasing became the default."""

    called = "torchmetrics"
    name = "torchmetrics: antialiased bilinear"
    centre = 128.0

    def resized(self, pixels: Tensor, size: int) -> Tensor:
        return antialiased(pixels, size, "bilinear")


class Bilinear(Preprocess):
    """For networks without an established protocol."""

    called = "bilinear"
    name = "antialiased bilinear"

    def resized(self, pixels: Tensor, size: int) -> Tensor:
        return antialiased(pixels, size, "bilinear")


class Bicubic(Preprocess):
    """What the processors of CLIP and DINOv2 do, but in floats."""

    called = "bicubic"
    name = "antialiased bicubic"

    def resized(self, pixels: Tensor, size: int) -> Tensor:
        return antialiased(pixels, size, "bicubic")


def as_rgb(images: Tensor) -> Tensor:
    """[B, 3, H, W] of images with one channel or three."""
    if images.shape[1] not in (1, 3):
        raise ValueError(f"a feature network sees 1 or 3 channels, got {images.shape[1]}")
    return images.expand(-1, 3, -1, -1)


def antialiased(pixels: Tensor, size: int, mode: Literal["bilinear", "bicubic"]) -> Tensor:
    """Half-pixel centres, and a kernel as wide as a pixel of the smaller picture."""
    return interpolate(pixels, (size, size), mode=mode, align_corners=False, antialias=True)


def tensorflow_bilinear(pixels: Tensor, size: int) -> Tensor:
    """TensorFlow 1's resize_bilinear with align_corners=False: the source of i is i H / size, no half pixel.

    It does not antialias, and the last rows are copies where it looks beyond the picture.
    """
    for dim in (3, 2):
        length = pixels.shape[dim]
        source = torch.arange(size, device=pixels.device) * torch.tensor(length / size, dtype=torch.float32)
        low = source.long().clamp(max=length - 1)
        high = (low + 1).clamp(max=length - 1)
        shape = [size if place == dim else 1 for place in range(4)]
        first, second = pixels.index_select(dim, low), pixels.index_select(dim, high)
        pixels = first + (second - first) * (source - low).to(pixels.dtype).reshape(shape)
    return pixels
