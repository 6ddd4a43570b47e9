"""Do samples depend on what was asked for at all?"""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from condiff.evaluation.checks import check_pictures, check_two
from condiff.evaluation.intervals import Interval, normal
from condiff.evaluation.measurement import Classifier, Measurement, Side, gathered
from condiff.evaluation.paired import Paired
from condiff.ranges import checked

_IGNORED = "the samples do not depend on the {} as far as this n shows"


class ConditionUse(Measurement):
    """By how much the judge's accuracy falls when the labels are shuffled among the samples.

    It is 0 where the condition is ignored, whatever the samples look like, and 1 - 1/K where each of K
    equally frequent classes comes as asked. The fall is the mean over all shuffles, which has a closed
    form: shuffled labels agree as often as two independent draws of what was said and what was asked.
    """

    needs_label = True
    higher_is_better = True
    said: list[Tensor]
    asked: list[Tensor]

    def __init__(self, judge: Classifier) -> None:
        super().__init__()
        self.judge = judge
        self.protocol = f"samples, {judge.name}'s accuracy less that with shuffled labels"
        self.add_state("said", [], dist_reduce_fx="cat")
        self.add_state("asked", [], dist_reduce_fx="cat")

    @property
    def sides(self) -> tuple[str, ...]:
        return ("samples",)

    @property
    def count(self) -> int:
        return len(gathered(self.said))

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        if label is None:
            raise ValueError("ConditionUse needs labelled samples")
        check_pictures(self, side, images)
        self.said.append(self.judge.logits(images).argmax(1))
        self.asked.append(label)

    def caveat(self) -> str:
        low, _ = self.interval()
        return _IGNORED.format("condition") if low <= 0 else ""

    def compute(self) -> Tensor:
        said, asked = self._pairs()
        return (said == asked).double().mean() - self._agreeing(asked, said).mean()

    def interval(self) -> Interval:
        said, asked = self._pairs()
        terms = (said == asked).double() - self._agreeing(asked, said) - self._agreeing(said, asked)
        return normal(float(type(self).compute(self)), terms)

    def _agreeing(self, pool: Tensor, asking: Tensor) -> Tensor:
        """[N], how often an answer is found in the pool."""
        classes = int(max(pool.max(), asking.max())) + 1
        return one_hot(pool, classes).double().mean(0)[asking]

    def _pairs(self) -> tuple[Tensor, Tensor]:
        """[N] what the judge says, and [N] what was asked for."""
        said, asked = gathered(self.said), gathered(self.asked)
        check_two(self, len(said))
        return said, asked


class SourceUse(Paired):
    """By what share the square error to the true answers is less than with the sources shuffled.

    The answers go with the sources that they were made from, so both are shuffled together, among the
    samples of which the same was asked: what the label alone explains is left out. It is 0 where the
    source is ignored, below where a sample does the contrary, and 1 where each is its answer. The shuffled
    error is the mean over the answers to all other sources of a label; a sample without any is left out.
    """

    what = "square error, by what share it is less than with shuffled sources of the same label"
    needs_label = True
    higher_is_better = True
    asked: list[Tensor]

    @checked
    def __init__(self, fake: Side = "samples", real: Side = "targets") -> None:
        super().__init__(fake, real)
        self.add_state("asked", [], dist_reduce_fx="cat")

    @property
    def count(self) -> int:
        return sum(map(len, _alike(gathered(self.asked))))

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        super().update(side, images, label)
        if side == self.fake:
            if label is None:
                raise ValueError(f"SourceUse needs labelled {side}")
            self.asked.append(label)

    def each(self, fake: Tensor, real: Tensor) -> Tensor:
        return (fake.double() - real.double()).square().flatten(1).mean(1)

    def caveat(self) -> str:
        low, _ = self.interval()
        return _IGNORED.format("source") if low <= 0 else ""

    def compute(self) -> Tensor:
        own, shuffled, _ = self._errors()
        return 1 - own.mean() / shuffled.mean()

    def interval(self) -> Interval:
        own, shuffled, terms = self._errors()
        ratio = own.mean() / shuffled.mean()
        return normal(float(1 - ratio), (ratio * terms - own) / shuffled.mean())

    def per_sample(self) -> None:
        return None  # the number is no mean over samples

    def _errors(self) -> tuple[Tensor, Tensor, Tensor]:
        """[N] each: a sample's error, its mean error over the other answers of its label, and what sample and
        answer add to the mean of these, to first order.
        """
        values, found, differ = self.values(), [], False
        kept = [gathered(rows).flatten(1) for rows in (self.fake_rows, self.real_rows)]
        for rows in _alike(gathered(self.asked)):
            own, (fake, real) = values[rows], (pictures[rows].double() for pictures in kept)
            differ |= bool((real != real[0]).any())
            by_sample, by_answer = _of_others(fake, real, own), _of_others(real, fake, own)
            found.append(torch.stack([own, by_sample, by_sample + by_answer - by_sample.mean()]))
        if not differ:
            raise ValueError(f"SourceUse needs two different {self.real} of one label, and there are none")
        own, shuffled, terms = torch.cat(found, 1)
        return own, shuffled, terms


def _alike(label: Tensor) -> list[Tensor]:
    """The places of each label that is there twice or more."""
    places = [(label == value).nonzero()[:, 0] for value in label.unique()]
    return [rows for rows in places if len(rows) > 1]


def _of_others(rows: Tensor, others: Tensor, own: Tensor) -> Tensor:
    """[N], the mean square error of each row, [N, D], over all others but its own."""
    n = len(rows)
    squares = rows.square().mean(1) + others.square().mean()  # |a|^2 - 2 a.b + |b|^2
    return (n * (squares - 2 * rows @ others.mean(0) / rows.shape[1]) - own) / (n - 1)
