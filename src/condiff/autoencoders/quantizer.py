"""Latents rounded to the nearest of a set of codes."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import mse_loss

from condiff.autoencoders.codebook import Codebook
from condiff.autoencoders.precision import at_least_single
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
