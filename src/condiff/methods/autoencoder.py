"""Training of an autoencoder with a Gaussian latent."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from condiff.autoencoders.space import Autoencoder, draw
from condiff.diffusion.randomness import Draws
from condiff.methods.method import Method
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training
from condiff.ranges import NonNegative, checked


class AutoencoderKL(Method):
    """Error^2 + ``l1_weight`` |error| + ``kl_weight`` KL(q(z|x) || N(0, I)), each a mean per element."""

    @checked
    def __init__(
        self,
        autoencoder: Autoencoder,
        optimizer: AdamW,
        training: Training,
        seed: int,
        kl_weight: NonNegative = 1e-3,
        l1_weight: NonNegative = 1.0,
    ) -> None:
        super().__init__(optimizer, training, seed)
        self.autoencoder = autoencoder
        self.kl_weight, self.l1_weight = kl_weight, l1_weight

    @property
    def trained(self) -> nn.Module:
        return self.autoencoder

    def loss(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Tensor]:
        images = batch["image"]
        moments = self.autoencoder.encode(images)
        noise = draws.normal("latent", moments.shape[1] // 2, *moments.shape[2:])
        decoded = self.autoencoder.decode(draw(moments, noise))
        square, divergence = mse_loss(decoded, images), kl(moments).mean()
        loss = square + self.l1_weight * l1_loss(decoded, images) + self.kl_weight * divergence
        return {"loss": loss, "psnr": psnr(square.detach()), "kl": divergence.detach()}


def kl(moments: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) of each latent element, [B, C', h, w], in nats."""
    mean, log_variance = moments.chunk(2, dim=1)
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


def psnr(square: Tensor) -> Tensor:
    """Peak signal-to-noise ratio, dB, of images in [-1, 1] with this mean squared error."""
    return 10 * torch.log10(4 / square.clamp(min=math.ulp(1.0)))
