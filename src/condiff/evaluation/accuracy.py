"""Do samples show what was asked for?"""

import math

import torch
from torch import Tensor

from condiff.evaluation.judge import Judge
from condiff.evaluation.measurement import Measurement


class ClassAccuracy(Measurement):
    """The share of samples that an independent judge puts into the class that was asked for."""

    higher_is_better = True

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.judge = judge
        self.protocol = f"samples, {judge.name}'s most likely class"
        self.add_state("right", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("seen", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    @property
    def sides(self) -> tuple[str, ...]:
        return ("samples",)

    @property
    def count(self) -> int:
        return int(self.seen)  # pyright: ignore[reportArgumentType]

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        if label is None:
            raise ValueError("class accuracy needs labelled samples")
        self.right = self.right + (self.judge.logits(images).argmax(1) == label).sum()
        self.seen = self.seen + len(label)

    def compute(self) -> Tensor:
        return self.right / self.seen

    def interval(self) -> tuple[float, float]:
        return wilson(int(self.right), self.count)


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927)."""
    p, spread = right / n, z * z / n
    centre = (p + spread / 2) / (1 + spread)
    half = z * math.sqrt(p * (1 - p) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)
