"""How like the pictures of a subject samples are."""

from torch import Tensor

from condiff.evaluation.intervals import Interval, normal
from condiff.evaluation.measurement import Side
from condiff.evaluation.sets import FeatureSets
from condiff.evaluation.statistics import FeatureExtractor
from condiff.ranges import checked


class SubjectFidelity(FeatureSets):
    """The mean cosine of the features of a sample and of a picture of the subject, over all such pairs.

    In features of DINO or CLIP it is what (Ruiz 2023, sec. 4.2) calls DINO and CLIP-I. Of samples that were
    asked for the subject's class it is their PRES: the less, the more is left of the class.
    """

    higher_is_better = True

    @checked
    def __init__(self, extractor: FeatureExtractor, fake: Side = "samples", real: Side = "train") -> None:
        super().__init__(extractor, fake, real)
        self.protocol += ", mean cosine over all pairs"

    def compute(self) -> Tensor:
        return self._cosines().mean()

    def interval(self) -> Interval | None:
        cosines = self._cosines()
        return normal(float(cosines.mean()), cosines)

    def _cosines(self) -> Tensor:
        """[N] float64, of each sample the mean over all pictures of the subject."""
        fake, real = (self._directions(part) for part in ("fake", "real"))
        return fake @ real.mean(0)

    def _directions(self, part: str) -> Tensor:
        found = self.features(part).double()
        length = found.norm(dim=1, keepdim=True)
        if not bool((length > 0).all()):
            side = getattr(self, part)
            raise ValueError(
                f"SubjectFidelity: {self.extractor.name} features of a {side} picture are all zero"
            )
        return found / length
