"""Pixels and latents: the one place where latents are normalised."""

from abc import ABC, abstractmethod
from pathlib import Path

import torch
from torch import Tensor, nn

from condiff.autoencoders.codebook import Codebook
from condiff.errors import ConfigError

CONSTANT = 1e-6  # of a channel's mean: a deviation below it is rounding, of numbers in single precision
NO_VARIANCE = -1e4  # its exponential is 0 in any precision, and it is a number that a file may hold


class Autoencoder(nn.Module, ABC):
    """Images to the moments of a Gaussian over latents, and latents back to images.

    An encoder that leaves nothing to chance gives NO_VARIANCE as log variance: see ``certain``.
    """

    channels: int
    latent_channels: int
    downsampling: int  # image size / latent size

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Moments, [B, 2 C', h, w] (mean, then log variance), of images, [B, C, H, W] in [-1, 1]."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Images, [B, C, H, W], of latents, [B, C', h, w]; not clipped."""

    def leave(self, out: Path) -> None:
        """Write beside its weights what its shape is read from, where that is not the config of a study."""
        return

    def stated(self) -> "LatentSpace | None":
        """How its latents are normalised where that is stated; None where it is measured over the data."""
        return None

    def codes(self) -> Codebook | None:
        """What latents are rounded to where they are decoded; None where they are not."""
        return None

    def exportable(self) -> "Autoencoder | None":
        """The ``DiffusersKL`` that it is to diffusers; None where it is none."""
        return None

    @property
    @abstractmethod
    def last(self) -> Tensor:
        """The weight of the decoder's last convolution, which losses are balanced at."""


def certain(latents: Tensor) -> Tensor:
    """Moments, [B, 2 C', h, w], of a Gaussian without variance at these latents, [B, C', h, w]."""
    return torch.cat([latents, torch.full_like(latents, NO_VARIANCE)], dim=1)


def is_certain(moments: Tensor) -> bool:
    """Whether nothing is left to chance in moments, [B, 2 C', h, w]."""
    return bool((moments.chunk(2, dim=1)[1] <= NO_VARIANCE).all())


def draw(moments: Tensor, noise: Tensor) -> Tensor:
    """A latent, [B, C', h, w], of the Gaussian with these moments, [B, 2 C', h, w], given unit noise."""
    mean, log_variance = moments.chunk(2, dim=1)
    return mean + (log_variance / 2).exp() * noise


def mode(moments: Tensor) -> Tensor:
    """The most likely latent, [B, C', h, w], of these moments, [B, 2 C', h, w]."""
    return moments.chunk(2, dim=1)[0]


class LatentSpace(nn.Module):
    """Latents with mean 0 and standard deviation 1 in each channel, as measured over the training data."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean.reshape(1, -1, 1, 1))
        self.register_buffer("std", std.reshape(1, -1, 1, 1))

    def normalise(self, latents: Tensor) -> Tensor:
        return (latents - self.mean) / self.std

    def restore(self, latents: Tensor) -> Tensor:
        return latents * self.std + self.mean


class ChannelMoments:
    """Mean and standard deviation of each channel over any number of batches, summed in float64."""

    def __init__(self) -> None:
        self.count, self.total, self.square = 0, torch.zeros(()), torch.zeros(())

    def add(self, latents: Tensor) -> None:
        """latents, [B, C, h, w]."""
        values = latents.double().transpose(0, 1).flatten(1)
        self.count += values.shape[1]
        self.total = self.total + values.sum(1)
        self.square = self.square + values.square().sum(1)

    def space(self) -> LatentSpace:
        """What they normalise by; ConfigError where a channel never changes, and so has no deviation."""
        mean = self.total / self.count
        variance = (self.square - self.count * mean.square()) / (self.count - 1)
        still = (variance <= (CONSTANT * mean).square()).nonzero().flatten().tolist()
        if still:
            raise ConfigError(
                f"autoencoder: channel {still[0]} of its latents, counted from 0, is {mean[still[0]]:.4g} in"
                " every picture and has no deviation to be normalised by; train it longer or with fewer"
                " autoencoder.network.latent_channels, or state autoencoder.network.scale if it is pretrained"
            )
        return LatentSpace(mean.float(), variance.sqrt().float())
