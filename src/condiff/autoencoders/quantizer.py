"""Latents rounded to the nearest of a set of codes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import mse_loss

from condiff.autoencoders.codebook import Codebook
from condiff.autoencoders.precision import at_least_single
from condiff.autoencoders.space import Autoencoder, certain
from condiff.ranges import NonNegative, checked


@dataclass(frozen=True)
class Quantised:
    latents: Tensor  # [B, C, h, w] the codes' vectors, which pass their gradient on to the encoder's latents
    codes: Tensor  # [B, h, w] int64
    loss: Tensor  # scalar


class VectorQuantizer(nn.Module):
    """The nearest code, with the straight-through gradient (van den Oord 2017, section 3.2).

    The loss is ``codebook.loss + commitment |z - sg[e]|^2`` (eq. 3), each a mean per element. A commitment
    of 0.25 is the paper's.
    """

    @checked
    def __init__(self, codebook: Codebook, commitment: NonNegative = 0.25) -> None:
        super().__init__()
        self.codebook, self.commitment = codebook, commitment

    def forward(self, latents: Tensor) -> Quantised:
        """Of latents, [B, C, h, w], as the encoder gives them."""
        codes = self.codebook.nearest(latents)
        chosen, fine = at_least_single(self.codebook.lookup(codes)), at_least_single(latents)
        loss = self.codebook.loss(chosen, fine) + self.commitment * mse_loss(fine, chosen.detach())
        # z - sg[z] is exactly 0, where z + sg[e - z] would round e
        passed = chosen.detach().to(latents.dtype) + (latents - latents.detach())
        return Quantised(passed, codes, loss)


class Quantising(Autoencoder, ABC):
    """An autoencoder whose decoder knows codes only.

    Its latents are those before they are rounded: diffusion runs on them, and what it draws is rounded to the
    nearest codes when it is decoded (Rombach 2022, section 3.2).
    """

    codebook: Codebook

    @abstractmethod
    def encoded(self, images: Tensor) -> Tensor:
        """Latents, [B, C', h, w], not yet rounded, of images, [B, C, H, W] in [-1, 1]."""

    @abstractmethod
    def decoded(self, latents: Tensor) -> Tensor:
        """Images, [B, C, H, W], of latents, [B, C', h, w], that are vectors of the codebook."""

    def codes(self) -> Codebook:
        return self.codebook

    def encode(self, images: Tensor) -> Tensor:
        return certain(self.encoded(images))

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoded(self.codebook.lookup(self.codebook.nearest(latents)).to(latents.dtype))


def fitting(codebook: Codebook, latent_channels: int, owner: str) -> Codebook:
    """The codebook, where its vectors are as long as latents have channels."""
    length = codebook.vectors.shape[1]
    if length != latent_channels:
        raise ValueError(f"{owner}.codebook.length must be latent_channels={latent_channels}, got {length}")
    return codebook
