"""How many different pictures the samples are."""

import torch
from torch import Tensor

from condiff.evaluation.checks import features_of
from condiff.evaluation.measurement import Measurement, Side
from condiff.evaluation.statistics import FeatureExtractor
from condiff.ranges import checked


class VendiScore(Measurement):
    """exp of the entropy of the eigenvalues of the cosine kernel over n (Friedman & Dieng 2023, eq. 3).

    It is k for k pictures that have nothing in common, each as often. The eigenvalues are those of the
    mean outer product of the normalized features, so a sum of [D, D] is all that is kept.
    """

    higher_is_better = True

    @checked
    def __init__(self, extractor: FeatureExtractor, fake: Side = "samples") -> None:
        super().__init__()
        self.extractor, self.fake = extractor, fake
        self.protocol = f"{fake}, cosine kernel of {extractor.name} features ({extractor.feature_dim})"
        size = extractor.feature_dim
        self.add_state("seen", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("outer", torch.zeros(size, size).double(), dist_reduce_fx="sum")

    @property
    def sides(self) -> tuple[str, ...]:
        return (self.fake,)

    @property
    def count(self) -> int:
        return int(self.seen)  # pyright: ignore[reportArgumentType]

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        features = features_of(self, self.extractor, side, images).double()
        length = features.norm(dim=1, keepdim=True)
        if not bool((length > 0).all()):
            raise ValueError(f"VendiScore: {self.extractor.name} features of a {side} picture are all zero")
        unit = features / length
        self.seen, self.outer = self.seen + len(unit), self.outer + unit.T @ unit

    def compute(self) -> Tensor:
        if self.count < 2:
            raise ValueError(f"VendiScore needs at least 2 {self.fake} pictures, got {self.count}")
        shares = torch.linalg.eigvalsh(self.outer / self.seen).clamp(min=0)
        return torch.special.entr(shares).sum().exp()
