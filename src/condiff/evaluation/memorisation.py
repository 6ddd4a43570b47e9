"""Are samples copies of what was trained on?"""

from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor

from condiff.evaluation.distances import centred, nearest, nearest_others
from condiff.evaluation.intervals import Interval, wilson
from condiff.evaluation.measurement import Side
from condiff.evaluation.sets import FeatureSets
from condiff.evaluation.statistics import FeatureExtractor
from condiff.ranges import Probability, checked


class Memorisation(FeatureSets):
    """The share of samples that lie nearer to a training picture than training pictures lie to each other.

    A sample counts where its nearest training picture is within the ``quantile`` of the training
    pictures' distances to their own nearest: fresh pictures of the same kind give ``quantile``, copies
    give 1. Beside it stands authenticity (Alaa 2022, sec. 4): the share of samples whose nearest training
    picture has a nearer neighbour in training; copies give 0, fresh pictures 1/3 on a line and close to
    1/2 where features have many dimensions.
    """

    higher_is_better = False
    higher_of_parts: ClassVar = {"_authenticity": True}
    part_names: ClassVar = ("", "_authenticity")

    @checked
    def __init__(
        self,
        extractor: FeatureExtractor,
        fake: Side = "samples",
        real: Side = "train",
        quantile: Probability = 0.05,
    ) -> None:
        super().__init__(extractor, fake, real)
        self.quantile = quantile
        self.protocol += f", nearer than {quantile:g} of {real} among themselves"

    def compute(self) -> dict[str, Tensor]:
        copied, authentic = self._seen()
        return {"share": copied.double().mean(), "authenticity": authentic.double().mean()}

    def parts(self) -> Iterator[tuple[str, Tensor, Interval | None]]:
        for name, said in zip(("", "_authenticity"), self._seen(), strict=True):
            yield name, said.double().mean(), wilson(int(said.sum()), len(said))

    def _seen(self) -> tuple[Tensor, Tensor]:
        """Of each sample, [N] bool: is it as near as a copy, and is it authentic?"""
        fake, real = self.features("fake"), self.features("real")
        apart, index = nearest(fake, real)
        among = nearest_others(centred(real, real)[0], 1)[:, 0].sqrt()
        return apart <= among.quantile(self.quantile), apart > among[index]
