"""Do samples depend on what was asked for at all?"""

from torch import Tensor
from torch.nn.functional import one_hot

from condiff.evaluation.checks import check_pictures
from condiff.evaluation.intervals import Interval, normal
from condiff.evaluation.measurement import Classifier, Measurement, gathered


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
        low, high = self.interval()
        return "the samples do not depend on the condition as far as this n shows" if low <= 0 <= high else ""

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
        if len(said) < 2:
            raise ValueError(f"ConditionUse needs at least 2 samples pictures, got {len(said)}")
        return said, asked
