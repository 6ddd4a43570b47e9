"""Maximum mean discrepancy: a distance without bias, so that few pictures are enough."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from condiff.evaluation.distances import row_blocks, squared_distances
from condiff.evaluation.intervals import Interval, in_fixed_order, normal
from condiff.evaluation.measurement import Side
from condiff.evaluation.sets import FeatureSets
from condiff.evaluation.statistics import FeatureExtractor
from condiff.ranges import Count, Natural, Positive, checked


class Similarity(Protocol):
    """Features [N, D] and [M, D], float64, to k(x, y), [N, M]."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Cubic:
    """(x.y / D + 1)^3 (Binkowski 2018, eq. 4)."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3


@dataclass(frozen=True)
class Gaussian:
    """exp(-|x - y|^2 / (2 sigma^2))."""

    sigma: float

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return (squared_distances(x, y) / (-2 * self.sigma**2)).exp()


class KernelDistance(FeatureSets):
    """The unbiased squared discrepancy in the cubic kernel (Gretton 2012, eq. 3) of all pictures.

    It may fall below zero, and is zero on average where the sets are alike. With Inception features it
    is what KID estimates from subsets.
    """

    higher_is_better = False

    @checked
    def __init__(
        self,
        extractor: FeatureExtractor,
        fake: Side = "samples",
        real: Side = "train",
    ) -> None:
        super().__init__(extractor, fake, real)
        self.protocol += ", unbiased, cubic kernel"

    def compute(self) -> Tensor:
        return self._discrepancy().unbiased()

    def parts(self) -> Iterator[tuple[str, Tensor, Interval | None]]:
        found = self._discrepancy()
        yield "", found.unbiased(), normal(float(found.unbiased()), 2 * found.witness())

    def _discrepancy(self) -> "Discrepancy":
        return Discrepancy.of(self.features("fake").double(), self.features("real").double(), Cubic())


class SubsetKernelDistance(FeatureSets):
    """KID as published: mean, and standard deviation, over random subsets (Binkowski 2018, sec. 4)."""

    higher_is_better = False
    higher_of_parts: ClassVar = {"_std": None}
    part_names: ClassVar = ("", "_std")

    @checked
    def __init__(
        self,
        extractor: FeatureExtractor,
        fake: Side = "samples",
        real: Side = "train",
        subsets: Count = 100,
        subset_size: Count = 1000,
        seed: Natural = 0,
    ) -> None:
        super().__init__(extractor, fake, real)
        self.subsets, self.subset_size, self.seed = subsets, subset_size, seed
        self.protocol += f", cubic kernel, {subsets} subsets of {subset_size}"

    def compute(self) -> Tensor:
        return self._estimates().mean()

    def parts(self) -> Iterator[tuple[str, Tensor, Interval | None]]:
        """The deviation over overlapping subsets is no standard error, and stands beside the mean."""
        estimates = self._estimates()
        yield "", estimates.mean(), None
        yield "_std", estimates.std(correction=0), None

    def _estimates(self) -> Tensor:
        """[subsets]"""
        fake, real = (
            in_fixed_order(self.features(part, max(2, self.subset_size)).double())
            for part in ("fake", "real")
        )
        generator = torch.Generator().manual_seed(self.seed)

        def drawn(rows: Tensor) -> Tensor:
            return rows[torch.randperm(len(rows), generator=generator)[: self.subset_size]]

        pairs = ((drawn(fake), drawn(real)) for _ in range(self.subsets))
        return torch.stack([Discrepancy.of(x, y, Cubic()).unbiased() for x, y in pairs])


class GaussianDistance(FeatureSets):
    """1000 times the squared discrepancy in a Gaussian kernel: CMMD, with normalized CLIP features.

    Its authors' numbers come from the estimate with the diagonal (Jayasumana 2024), which is never
    negative and has a small bias in 1/n; so does this.

    sigma: 10 in the paper.
    """

    higher_is_better = False

    @checked
    def __init__(
        self,
        extractor: FeatureExtractor,
        fake: Side = "samples",
        real: Side = "train",
        sigma: Positive = 10.0,
    ) -> None:
        super().__init__(extractor, fake, real)
        self.sigma = sigma
        self.protocol += f", Gaussian kernel of width {sigma:g}, x 1000"

    def compute(self) -> Tensor:
        fake, real = self.features("fake").double(), self.features("real").double()
        return 1000 * Discrepancy.of(fake, real, Gaussian(self.sigma)).with_diagonal()


@dataclass(frozen=True)
class Discrepancy:
    """Kernel sums of two sets x [N, D] and y [M, D]."""

    xx: Tensor  # [N], sums over x, the row's own left out
    yy: Tensor  # [M]
    xy: Tensor  # [N], sums over y
    own: Tensor  # [2], the traces of k(x, x) and k(y, y)

    @classmethod
    def of(cls, x: Tensor, y: Tensor, kernel: Similarity) -> "Discrepancy":
        xx, own_x = _row_sums(x, kernel)
        yy, own_y = _row_sums(y, kernel)
        xy = torch.cat([kernel(x[rows], y).sum(1) for rows in row_blocks(len(x), len(y))])
        return cls(xx, yy, xy, torch.stack([own_x, own_y]))

    def unbiased(self) -> Tensor:
        n, m = len(self.xx), len(self.yy)
        return self.xx.sum() / (n * (n - 1)) + self.yy.sum() / (m * (m - 1)) - 2 * self.xy.sum() / (n * m)

    def with_diagonal(self) -> Tensor:
        """The squared distance of the two mean embeddings (Gretton 2012, eq. 5)."""
        n, m = len(self.xx), len(self.yy)
        xx, yy = self.xx.sum() + self.own[0], self.yy.sum() + self.own[1]
        return xx / n**2 + yy / m**2 - 2 * self.xy.sum() / (n * m)

    def witness(self) -> Tensor:
        """[N], how much nearer each x is to x than to y; half the first-order term of ``unbiased``."""
        return self.xx / (len(self.xx) - 1) - self.xy / len(self.yy)


def _row_sums(x: Tensor, kernel: Similarity) -> tuple[Tensor, Tensor]:
    """[N] sums over the other rows, and the sum of k(x, x)."""
    sums, own = [], x.new_zeros(())
    for rows in row_blocks(len(x), len(x)):
        block = kernel(x[rows], x)
        diagonal = block.diagonal(rows.start)
        sums.append(block.sum(1) - diagonal)
        own = own + diagonal.sum()
    return torch.cat(sums), own
