"""Measurements that compare two sets of pictures by their features."""

from torch import Tensor

from condiff.evaluation.checks import features_of
from condiff.evaluation.measurement import Measurement, gathered
from condiff.evaluation.statistics import FeatureExtractor


class TwoSets(Measurement):
    """``fake`` is measured against ``real``, in the features of one extractor."""

    def __init__(self, extractor: FeatureExtractor, fake: str, real: str) -> None:
        super().__init__()
        if fake == real:
            raise ValueError(f"{type(self).__name__} compares two different sets, got {fake!r} twice")
        self.extractor, self.fake, self.real = extractor, fake, real
        self.protocol = f"{fake} against {real}, {extractor.name} features ({extractor.feature_dim})"

    @property
    def sides(self) -> tuple[str, ...]:
        return (self.fake, self.real)

    def part_of(self, side: str) -> str:
        """ "fake" or "real"."""
        return "fake" if side == self.fake else "real"

    def refuse_few(self, part: str, n: int, least: int = 2) -> None:
        """ValueError where a set has fewer pictures than the number needs."""
        if n < least:
            raise ValueError(
                f"{type(self).__name__} needs at least {least} {getattr(self, part)} pictures, got {n}"
            )


class FeatureSets(TwoSets):
    """Keeps the features of both sets: 4 bytes x feature_dim a picture.

    Measurements that share an extractor hold the same tensors until they are computed, one by one.
    """

    def __init__(self, extractor: FeatureExtractor, fake: str, real: str) -> None:
        super().__init__(extractor, fake, real)
        for part in ("fake", "real"):
            self.add_state(f"{part}_features", [], dist_reduce_fx="cat")

    @property
    def count(self) -> int:
        return len(gathered(self.fake_features))

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        features = features_of(self, self.extractor, side, images)
        getattr(self, f"{self.part_of(side)}_features").append(features)

    def features(self, part: str, least: int = 2) -> Tensor:
        """[N, feature_dim] of "fake" or "real"; ValueError below ``least`` pictures."""
        kept = gathered(getattr(self, f"{part}_features"))
        self.refuse_few(part, len(kept), least)
        return kept
