"""Do samples show what was asked for?"""

import torch
from torch import Tensor

from condiff.evaluation.checks import check_pictures
from condiff.evaluation.intervals import Interval, wilson
from condiff.evaluation.measurement import Classifier, Measurement


class ClassAccuracy(Measurement):
    """The share of samples that an independent judge puts into the class that was asked for."""

    needs_label = True
    higher_is_better = True

    def __init__(self, judge: Classifier) -> None:
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
            raise ValueError("ClassAccuracy needs labelled samples")
        check_pictures(self, side, images)
        self.right = self.right + (self.judge.logits(images).argmax(1) == label).sum()
        self.seen = self.seen + len(label)

    def compute(self) -> Tensor:
        if self.count < 2:
            raise ValueError(f"ClassAccuracy needs at least 2 samples pictures, got {self.count}")
        return self.right / self.seen

    def interval(self) -> Interval:
        return wilson(int(self.right), self.count)
