"""Networks that are only looked through."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from condiff.evaluation.features.preprocess import Preprocess
from condiff.files import digest


class Frozen:
    """A network that never trains, under a name.

    It is no module, so that no checkpoint, average or copy of a model holds its weights.

    ``name`` says all that the numbers depend on; ``identity`` is a hash of it and of the weights.
    """

    def __init__(self, network: nn.Module, described: str, content: Sequence[Any]) -> None:
        self.network = network.float().eval().requires_grad_(False)
        self.identity = digest([described, *content])[:12]
        self.name = f"{described}, {self.identity}"

    def __deepcopy__(self, memo: Any) -> "Frozen":
        return self  # nothing in it changes


class FrozenFeatures(Frozen, ABC):
    """Images, [B, C, H, W] in [-1, 1], to features, [B, feature_dim].

    It follows the pictures to their device, and computes in float32 whatever surrounds it.
    """

    at_once = 50  # pictures: memory does not grow with the batch

    def __init__(
        self, network: nn.Module, preprocess: Preprocess, size: int, what: str, dim: int, weights: str
    ) -> None:
        super().__init__(network, f"{what}, {preprocess.described(size)}", [dim, weights])
        self.preprocess, self.size, self.feature_dim = preprocess, size, dim

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        self.network.to(images.device)
        with torch.autocast(images.device.type, enabled=False):
            parts = [self.features(self.preprocess(part, self.size)) for part in images.split(self.at_once)]
        return torch.cat(parts)

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """[B, feature_dim] of x, [B, 3, size, size], as the preprocessing leaves it."""


class FrozenClassifier(FrozenFeatures):
    """Features that a linear head turns into the logits of classes."""

    def logits(self, images: Tensor) -> Tensor:
        """[B, K] of images, [B, C, H, W] in [-1, 1]."""
        return self.head(self(images))

    @abstractmethod
    def head(self, features: Tensor) -> Tensor:
        """[B, K] of features, [B, feature_dim]."""
