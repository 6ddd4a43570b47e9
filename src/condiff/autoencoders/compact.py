"""Small autoencoders for a CPU.

diffusers' smallest useful ``AutoencoderKL`` spends its time in group norms at full resolution and took
4 times as long a step on 32x32 digits (benchmarks/autoencoder_step.py); these stride at once.
"""

from abc import ABC
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from condiff.autoencoders.codebook import Codebook
from condiff.autoencoders.quantizer import Quantising, fitting
from condiff.autoencoders.space import Autoencoder
from condiff.ranges import Count, checked


class Compact(Autoencoder, ABC):
    """Convolutions with stride 2 down, pixel shuffles up.

    The decoder ends in a tanh: on digits, whose pixels are mostly at the ends of the range, a Frechet
    distance of reconstructions of 11.3 without and 3.0 with it after 600 steps (judge features, n = 500).
    """

    def __init__(
        self, channels: int, latent_channels: int, width: int, blocks: int, downsampling: int, encoded: int
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if downsampling not in (2, 4, 8, 16):
            raise ValueError(f"{name}.downsampling must be 2, 4, 8 or 16, got {downsampling}")
        if width % 16:
            raise ValueError(f"{name}.width must be a multiple of 16, got {width}")
        self.channels, self.latent_channels = channels, latent_channels
        self.downsampling = downsampling
        halvings = downsampling.bit_length() - 1
        # half the width at the finest level, the full width at every coarser one
        widths = [width // 2, *[width] * (halvings - 1)] if halvings > 1 else [width]
        self.encoder = nn.Sequential(
            *_down(channels, widths),
            *[_Residual(width) for _ in range(blocks)],
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, encoded, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, width, 3, padding=1),
            *[_Residual(width) for _ in range(blocks + 1)],
            nn.GroupNorm(8, width),
            nn.SiLU(),
            *_up(widths[::-1], channels),
            nn.Tanh(),
        )

    @property
    def last(self) -> Tensor:
        convolution = self.decoder[-3]  # before the shuffle and the tanh
        assert isinstance(convolution, nn.Conv2d)
        return convolution.weight


class CompactKL(Compact):
    """With a Gaussian latent, whose log variance is clipped to [-20, 10]."""

    @checked
    def __init__(
        self,
        channels: Count,
        latent_channels: Count = 4,
        width: Count = 32,
        blocks: Count = 1,
        downsampling: Literal[2, 4, 8, 16] = 4,
    ) -> None:
        super().__init__(channels, latent_channels, width, blocks, downsampling, 2 * latent_channels)

    def encode(self, images: Tensor) -> Tensor:
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return torch.cat([mean, log_variance.clamp(-20, 10)], dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(latents)


class CompactVQ(Compact, Quantising):
    """With a codebook."""

    @checked
    def __init__(
        self,
        channels: Count,
        codebook: Codebook,
        latent_channels: Count = 4,
        width: Count = 32,
        blocks: Count = 1,
        downsampling: Literal[2, 4, 8, 16] = 4,
    ) -> None:
        super().__init__(channels, latent_channels, width, blocks, downsampling, latent_channels)
        self.codebook = fitting(codebook, latent_channels, "CompactVQ")

    def encoded(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    def decoded(self, latents: Tensor) -> Tensor:
        return self.decoder(latents)


def _down(channels: int, widths: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for narrow, wide in pairwise([channels, *widths]):
        layers += [*([nn.SiLU()] if layers else []), nn.Conv2d(narrow, wide, 4, stride=2, padding=1)]
    return layers


def _up(widths: list[int], channels: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(widths):
        layers += [nn.Conv2d(wide, 4 * narrow, 3, padding=1), nn.PixelShuffle(2), nn.SiLU()]
    last = widths[-1]
    smooth = [nn.Conv2d(last, last, 3, padding=1), nn.SiLU()] if len(widths) > 1 else []
    return [*layers, *smooth, nn.Conv2d(last, 4 * channels, 3, padding=1), nn.PixelShuffle(2)]


class _Residual(nn.Module):
    """Two convolutions around a shortcut; the second starts at zero, so the block starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        last = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # pyright: ignore[reportArgumentType]
        self.layers = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            last,
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)
