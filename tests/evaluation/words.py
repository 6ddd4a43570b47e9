"""Captions whose meaning is known: they are the numbers that they name."""

from collections.abc import Sequence

import torch
from torch import Tensor

from condiff.evaluation.text_alignment import TextAlignment


class Numbers:
    """The vector of "0.1 -2" is [0.1, -2]."""

    name = "numbers"

    def __init__(self, feature_dim: int) -> None:
        self.feature_dim = feature_dim

    def __call__(self, texts: Sequence[str], place: torch.device | str = "cpu") -> Tensor:
        rows = [[float(word) for word in text.split()] for text in texts]
        return torch.tensor(rows, device=place).view(-1, self.feature_dim)


def named(vectors: Tensor) -> list[str]:
    """Captions of vectors, [N, P]."""
    return [" ".join(f"{number:.6f}" for number in row) for row in vectors.tolist()]


def told(metric: TextAlignment, side: str, features: Tensor, captions: list[str], parts: int = 1) -> None:
    """Show it features, [N, D], as pictures of a set, with what they show."""
    if side == "samples":
        metric.tell(captions)
    for rows in torch.arange(len(features)).tensor_split(parts):
        if side != "samples":
            metric.describe(side, [captions[row] for row in rows])
        metric.update(side, features[rows][:, None, None, :], None)
