"""Do samples show what was asked for?"""

from torch import Tensor

from condiff.evaluation.checks import check_pictures, check_two
from condiff.evaluation.each_sample import EachSample
from condiff.evaluation.intervals import Interval, wilson
from condiff.evaluation.measurement import Classifier, gathered


class ClassAccuracy(EachSample):
    """The share of samples that an independent judge puts into the class that was asked for."""

    needs_label = True
    higher_is_better = True
    right: list[Tensor]

    def __init__(self, judge: Classifier) -> None:
        super().__init__()
        self.judge = judge
        self.protocol = f"samples, {judge.name}'s most likely class"
        self.add_state("right", [], dist_reduce_fx="cat")

    @property
    def sides(self) -> tuple[str, ...]:
        return ("samples",)

    @property
    def count(self) -> int:
        return len(gathered(self.right))

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        if label is None:
            raise ValueError("ClassAccuracy needs labelled samples")
        check_pictures(self, side, images)
        self.take_places(images)
        self.right.append(self.judge.logits(images).argmax(1) == label)

    def compute(self) -> Tensor:
        check_two(self, self.count)
        return gathered(self.right).double().mean()

    def interval(self) -> Interval:
        return wilson(int(gathered(self.right).sum()), self.count)

    def per_sample(self) -> Tensor:
        return self.in_turn(gathered(self.right))
