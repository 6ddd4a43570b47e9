"""Losses of a discriminator and of what it judges, and how strongly the latter counts.

Logits of patches, [B, 1, h, w], are averaged: a loss is a mean over pictures, and that of parts of a batch
of one size is the mean of theirs. All is computed in float32 or finer, whatever surrounds it.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from condiff.autoencoders.precision import at_least_single, without_autocast

LARGEST = 1e4  # adaptive weight, and
DELTA = 1e-4  # what keeps it finite: both of the code of Esser 2021, the latter 1e-6 in the paper


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Of a discriminator (Lim & Ye 2017; Miyato 2018, eq. 16), halved as by Isola 2017, section 3.3."""
    real, fake = at_least_single(real), at_least_single(fake)
    return (relu(1 - real).mean() + relu(1 + fake).mean()) / 2


def hinge_of_generator(fake: Tensor) -> Tensor:
    """(Miyato 2018, eq. 17)"""
    return -at_least_single(fake).mean()


def vanilla(real: Tensor, fake: Tensor) -> Tensor:
    """Cross-entropy of a discriminator (Goodfellow 2014, eq. 1), halved as by Isola 2017, section 3.3."""
    real, fake = at_least_single(real), at_least_single(fake)
    return (softplus(-real).mean() + softplus(fake).mean()) / 2


def vanilla_of_generator(fake: Tensor) -> Tensor:
    """-log D(fake), which does not saturate (Goodfellow 2014, section 3)."""
    return softplus(-at_least_single(fake)).mean()


def r1(discriminator: nn.Module, images: Tensor) -> Tensor:
    """``mean |grad D(x)|^2 / 2`` over real images, [B, C, H, W] (Mescheder 2018, eq. 9, less its gamma).

    D(x) is the mean of a picture's logits, as in the losses. The result can be differentiated, and so it
    runs the discriminator itself, in float32 or finer.
    """
    with torch.enable_grad(), without_autocast(images):
        images = at_least_single(images).detach().requires_grad_()
        logits = discriminator(images).flatten(1).mean(1)
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean() / 2


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last: Tensor) -> Tensor:
    """What the adversarial loss counts, so that both losses move the decoder's last layer alike.

    ``|grad_L reconstruction| / (|grad_L adversarial| + delta)`` (Esser 2021, eq. 7), at most 1e4, and a
    constant to whatever is minimised. Norms and ratio are of float32; a gradient is as fine as the
    precision that the decoder ran in.

    last: weight of the decoder's last convolution. Neither loss may carry a factor of a loss scaler.
    """
    return balance(gradient_at(last, reconstruction), gradient_at(last, adversarial))


def gradient_at(last: Tensor, loss: Tensor) -> Tensor:
    """Of a loss by a weight. Where ranks share a batch, the mean over them is that of the global batch."""
    (gradient,) = torch.autograd.grad(loss, last, retain_graph=True)
    return at_least_single(gradient)


def balance(reconstruction: Tensor, adversarial: Tensor) -> Tensor:
    """The adaptive weight of these gradients of the global batch."""
    return (reconstruction.norm() / (adversarial.norm() + DELTA)).clamp(max=LARGEST)
