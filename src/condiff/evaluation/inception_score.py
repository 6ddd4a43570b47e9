"""Are samples clearly of one class each, and of all classes together?"""

import math
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from condiff.evaluation.checks import check_pictures
from condiff.evaluation.intervals import Interval, in_fixed_order
from condiff.evaluation.measurement import Classifier, Measurement, gathered
from condiff.ranges import Count, Natural, checked


class InceptionScore(Measurement):
    """exp E KL(p(y|x) || p(y)) (Salimans 2016, sec. 4), mean and deviation over random splits.

    It is called IS only with the Inception network of 2015. It lies between 1 and the number of classes.

    splits: 10 in the paper.
    """

    higher_is_better = True
    higher_of_parts: ClassVar = {"_std": None}
    part_names: ClassVar = ("", "_std")
    log_probs: list[Tensor]

    @checked
    def __init__(self, judge: Classifier, splits: Count = 10, seed: Natural = 0) -> None:
        super().__init__()
        self.judge, self.splits, self.seed = judge, splits, seed
        self.protocol = f"samples, {judge.name}'s classes, {splits} splits"
        self.add_state("log_probs", [], dist_reduce_fx="cat")

    @property
    def sides(self) -> tuple[str, ...]:
        return ("samples",)

    @property
    def count(self) -> int:
        return len(gathered(self.log_probs))

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        check_pictures(self, side, images)
        log_probs = self.judge.logits(images).double().log_softmax(1)
        if not bool(log_probs.isfinite().all()):
            raise ValueError(f"InceptionScore: {self.judge.name}'s logits of the {side} are not finite")
        self.log_probs.append(log_probs)

    def compute(self) -> Tensor:
        return self._scores().mean()

    def parts(self) -> Iterator[tuple[str, Tensor, Interval | None]]:
        scores = self._scores()
        yield "", scores.mean(), None
        yield "_std", scores.std(correction=0), None

    def _scores(self) -> Tensor:
        """[splits]"""
        log_probs = in_fixed_order(self._log_probs())
        order = torch.randperm(len(log_probs), generator=torch.Generator().manual_seed(self.seed))
        return torch.stack([inception_score(part) for part in log_probs[order].tensor_split(self.splits)])

    def _log_probs(self) -> Tensor:
        kept, least = gathered(self.log_probs), max(2, self.splits)
        if len(kept) < least:
            raise ValueError(f"InceptionScore needs at least {least} samples pictures, got {len(kept)}")
        return kept


def inception_score(log_probs: Tensor) -> Tensor:
    """Of log p(y|x), [N, K] float64."""
    marginal = log_probs.logsumexp(0) - math.log(len(log_probs))
    return (log_probs.exp() * (log_probs - marginal)).sum(1).mean().exp()
