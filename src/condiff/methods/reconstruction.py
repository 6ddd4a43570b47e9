"""How far reconstructions are from pictures: what an autoencoder is trained to make small."""

import torch
from torch import Tensor, nn

from condiff.autoencoders.precision import at_least_single
from condiff.evaluation.features.perceptual import PerceptualDistance
from condiff.ranges import NonNegative, Real, checked


class Reconstruction(nn.Module):
    """``|e| + square_weight e^2 + distance_weight d``, a mean over a picture's elements, [B].

    e is the error of an element and d how unlike both pictures are to the eye: one number a picture, which
    counts at each of its elements (the code of Rombach 2022, which has no square).

    distance_weight: 1 is Rombach's for LPIPS. Without a ``distance`` it has no effect.
    """

    @checked
    def __init__(
        self,
        square_weight: NonNegative = 0.0,
        distance: PerceptualDistance | None = None,
        distance_weight: NonNegative = 1.0,
    ) -> None:
        super().__init__()
        self.square_weight, self.distance, self.distance_weight = square_weight, distance, distance_weight

    def forward(self, decoded: Tensor, images: Tensor) -> Tensor:
        """Of reconstructions and their pictures, both [B, C, H, W] in [-1, 1]."""
        decoded, images = at_least_single(decoded), at_least_single(images)
        error = decoded - images
        found = error.abs().flatten(1).mean(1)
        if self.square_weight:
            found = found + self.square_weight * error.square().flatten(1).mean(1)
        if self.distance is not None and self.distance_weight:
            found = found + self.distance_weight * self.distance(decoded, images)
        return found


class LearnedReconstruction(Reconstruction):
    """``error / exp(s) + s`` with s learned: how unlikely a picture is, given what came of it, in nats.

    (The code of Rombach 2022.) Of |e| alone this is the negative log-likelihood of a Laplace distribution of
    scale exp(s), less log 2.

    log_variance: s at the start; 0 is Rombach's, and so it is called there.
    """

    @checked
    def __init__(
        self,
        log_variance: Real = 0.0,
        square_weight: NonNegative = 0.0,
        distance: PerceptualDistance | None = None,
        distance_weight: NonNegative = 1.0,
    ) -> None:
        super().__init__(square_weight, distance, distance_weight)
        self.log_variance = nn.Parameter(torch.tensor(float(log_variance)))

    def forward(self, decoded: Tensor, images: Tensor) -> Tensor:
        return super().forward(decoded, images) * torch.exp(-self.log_variance) + self.log_variance
