"""Pictures whose features are known: the poorest extractor and classifier there are."""

from collections.abc import Iterable

import torch
from torch import Tensor

from condiff.evaluation.measurement import Measurement


class Pixels:
    """Features of a picture are its pixels, and so are its logits."""

    name = "pixels"

    def __init__(self, feature_dim: int) -> None:
        self.feature_dim = feature_dim

    def __call__(self, images: Tensor) -> Tensor:
        return images.flatten(1)

    def logits(self, images: Tensor) -> Tensor:
        return 10 * images.flatten(1)


class PixelDistance:
    """The sum of squared differences of two pictures."""

    name = "pixels"

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).square().flatten(1).sum(1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(n: int, dim: int, seed: int, shift: float = 0.0, width: float = 0.1) -> Tensor:
    """[n, dim] features that fit into [-1, 1]."""
    return (width * torch.randn(n, dim, generator=seeded(seed)) + shift).clamp(-1, 1)


def shown(metric: Measurement, parts: int = 1, label: Tensor | None = None, **sides: Tensor) -> Measurement:
    """The metric after it saw features [N, D] of each side as pictures, in some batches."""
    for side, features in sides.items():
        labels: Iterable[Tensor | None] = [None] * parts if label is None else label.tensor_split(parts)
        for batch, asked in zip(features.tensor_split(parts), labels, strict=True):
            metric.update(side, batch[:, None, None, :], asked)
    return metric
