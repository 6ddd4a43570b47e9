"""The Frechet distance of infinitely many samples, so that different counts compare."""

import torch
from torch import Tensor

from condiff.evaluation.frechet import FrechetTo, moments
from condiff.evaluation.intervals import at_infinity, in_fixed_order
from condiff.evaluation.measurement import Side
from condiff.evaluation.sets import FeatureSets
from condiff.evaluation.statistics import FeatureExtractor
from condiff.ranges import Count, Fraction, Natural, checked


class FrechetInfinity(FeatureSets):
    """Distances of random parts of the fake pictures, extrapolated over 1/n (Chong & Forsyth 2020).

    Only the bias of the fake set goes away; the real one is taken as the truth. The bias is linear in
    1/n where n exceeds the number of features several times: the smallest part must.

    points, smallest: parts from ``smallest`` of the pictures to all; the paper has 15, from 5k of 50k.
    """

    higher_is_better = False

    @checked
    def __init__(
        self,
        extractor: FeatureExtractor,
        fake: Side = "samples",
        real: Side = "train",
        points: Count = 15,
        smallest: Fraction = 0.1,
        seed: Natural = 0,
    ) -> None:
        super().__init__(extractor, fake, real)
        if points < 2:
            raise ValueError(f"FrechetInfinity.points must be at least 2 for a line, got {points}")
        self.points, self.smallest, self.seed = points, smallest, seed
        self.protocol += f", extrapolated from {points} parts"

    def compute(self) -> Tensor:
        features, target = in_fixed_order(self.features("fake")), FrechetTo(*moments(self.features("real")))
        counts = torch.linspace(self.smallest * len(features), len(features), self.points).long().tolist()
        if counts[0] <= self.extractor.feature_dim:
            raise ValueError(
                f"FrechetInfinity.smallest must leave more pictures than the {self.extractor.feature_dim}"
                f" features, got {counts[0]} of {len(features)}"
            )
        generator = torch.Generator().manual_seed(self.seed)
        parts = [torch.randperm(len(features), generator=generator)[:n] for n in counts]
        values = [float(target(*moments(features[part]))) for part in parts]
        return torch.tensor(at_infinity(counts, values), dtype=torch.float64)
