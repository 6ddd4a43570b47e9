"""Networks that are only looked through."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from condiff.evaluation.features.preprocess import Preprocess
from condiff.files import digest


class FrozenFeatures(ABC):
    """Images, [B, C, H, W] in [-1, 1], to features, [B, feature_dim], of a network that never trains.

    It is no module, so that no checkpoint, average or copy of a model holds its weights. It follows the
    pictures to their device, and computes in float32 whatever surrounds it.

    ``name`` says all that the numbers depend on; ``identity`` is a hash of it and of the weights.
    """

    at_once = 50  # pictures: memory does not grow with the batch

    def __init__(
        self, network: nn.Module, preprocess: Preprocess, size: int, what: str, dim: int, weights: str
    ) -> None:
        self.network = network.float().eval().requires_grad_(False)
        self.preprocess, self.size, self.feature_dim = preprocess, size, dim
        described = f"{what}, {preprocess.described(size)}"
        self.identity = digest([described, dim, weights])[:12]
        self.name = f"{described}, {self.identity}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        self.network.to(images.device)
        with torch.autocast(images.device.type, enabled=False):
            parts = [self.features(self.preprocess(part, self.size)) for part in images.split(self.at_once)]
        return torch.cat(parts)

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """[B, feature_dim] of x, [B, 3, size, size], as the preprocessing leaves it."""

    def __deepcopy__(self, memo: Any) -> "FrozenFeatures":
        return self  # nothing in it changes


class FrozenClassifier(FrozenFeatures):
    """Features that a linear head turns into the logits of classes."""

    def logits(self, images: Tensor) -> Tensor:
        """[B, K] of images, [B, C, H, W] in [-1, 1]."""
        return self.head(self(images))

    @abstractmethod
    def head(self, features: Tensor) -> Tensor:
        """[B, K] of features, [B, feature_dim]."""
