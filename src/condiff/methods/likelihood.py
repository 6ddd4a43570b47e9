"""Training of an autoencoder with a Gaussian latent by the likelihood of its pictures."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from condiff.autoencoders.precision import at_least_single
from condiff.autoencoders.space import Autoencoder, draw
from condiff.diffusion.randomness import Draws
from condiff.evaluation.features.perceptual import PerceptualDistance
from condiff.methods.autoencoder import kl, psnr
from condiff.methods.method import Method
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training
from condiff.ranges import NonNegative, Positive, Real, checked


class Reconstruction(nn.Module):
    """How unlikely pictures are, given what came of them: a sum over a picture's elements, [B], in nats.

    ``(|x - x^| + distance_weight d(x, x^)) / exp(s) + s`` with s learned (the code of Rombach 2022). The
    distance is one number a picture, and counts at each of its elements. Without it this is the negative
    log-likelihood of a Laplace distribution of scale exp(s), less log 2 an element.

    log_variance: s at the start; 0 is Rombach's, as is a distance_weight of 1. So it is called there.
    """

    @checked
    def __init__(
        self,
        log_variance: Real = 0.0,
        distance: PerceptualDistance | None = None,
        distance_weight: Positive | None = None,
    ) -> None:
        super().__init__()
        if (distance is None) != (distance_weight is None):
            raise ValueError(
                "Reconstruction.distance_weight must be given with a distance and only then,"
                f" got {distance_weight}"
            )
        self.log_variance = nn.Parameter(torch.tensor(float(log_variance)))
        self.distance, self.distance_weight = distance, distance_weight or 0.0

    def forward(self, decoded: Tensor, images: Tensor) -> Tensor:
        """Of pictures and their reconstructions, both [B, C, H, W] in [-1, 1]."""
        decoded, images = at_least_single(decoded), at_least_single(images)
        error, num = (decoded - images).abs().flatten(1).sum(1), images[0].numel()
        if self.distance is not None:
            error = error + self.distance_weight * num * self.distance(decoded, images)
        return error * torch.exp(-self.log_variance) + num * self.log_variance


class AutoencoderELBO(Method):
    """``reconstruction + kl_weight KL(q(z|x) || N(0, I))``, sums over a picture and means over pictures.

    With a ``kl_weight`` of 1 and no perceptual distance it is the negative evidence lower bound. The
    default is Rombach 2022's, which is for sums: a mean per element would make it weaker by the number of
    elements.
    """

    @checked
    def __init__(
        self,
        autoencoder: Autoencoder,
        reconstruction: Reconstruction,
        optimizer: AdamW,
        training: Training,
        seed: int,
        kl_weight: NonNegative = 1e-6,
    ) -> None:
        super().__init__(optimizer, training, seed)
        self.autoencoder, self.reconstruction = autoencoder, reconstruction
        self.kl_weight = kl_weight

    @property
    def trained(self) -> nn.Module:
        return self.autoencoder

    def trainable(self) -> list[nn.Parameter]:
        """The autoencoder, and the log-variance, which is of use only while it trains and is not saved."""
        return [*super().trainable(), *self.reconstruction.parameters()]

    def loss(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Tensor]:
        images = batch["image"]
        moments = at_least_single(self.autoencoder.encode(images))
        noise = draws.normal("latent", moments.shape[1] // 2, *moments.shape[2:])
        decoded = self.autoencoder.decode(draw(moments, noise))
        unlikely, divergence = self.reconstruction(decoded, images).mean(), kl(moments)
        square = mse_loss(at_least_single(decoded.detach()), at_least_single(images))
        return {
            "loss": unlikely + self.kl_weight * divergence.flatten(1).sum(1).mean(),
            "psnr": psnr(square),
            "kl": divergence.mean().detach(),
            "log_variance": self.reconstruction.log_variance.detach().clone(),
        }
