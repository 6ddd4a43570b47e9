"""Frechet distance between two sets of pictures in some feature space."""

from collections.abc import Iterator

import torch
from torch import Tensor

from condiff.evaluation.checks import features_of
from condiff.evaluation.each_sample import EachSample
from condiff.evaluation.intervals import Interval, bootstrap, in_fixed_order, normal
from condiff.evaluation.measurement import Side, gathered
from condiff.evaluation.sets import TwoSets
from condiff.evaluation.statistics import FeatureExtractor, Statistics, read_statistics
from condiff.ranges import Count, Natural, checked

_ROWS = 4096  # of features at a time in float64


class FrechetDistance(TwoSets, EachSample):
    """||mu - mu'||^2 + tr(S + S' - 2 (S S')^1/2) (Heusel 2017, eq. 6), from float64 sums.

    ``fake`` is measured against ``real``; the covariances are unbiased (n - 1). It is called FID only
    with the Inception features of 2015. With no more pictures than features a covariance is singular
    and the distance mostly bias: the name then says ``_biased_n`` and how many pictures.

    statistics: an .npz file with the moments of the real pictures, which are then not looked at.
    least: fewer pictures of either set are refused.
    bootstrap: redrawings of the fake pictures for an interval, each worth one distance. 0 is an interval to
    first order in each fake picture (``FrechetTo.influence``), for the price of one distance more.

    Of samples it has values one by one, so that two distances are compared in pairs: ``per_sample``.
    """

    higher_is_better = False
    fake_features: list[Tensor]

    @checked
    def __init__(
        self,
        extractor: FeatureExtractor,
        fake: Side = "samples",
        real: Side = "train",
        statistics: str | None = None,
        least: Count = 2,
        bootstrap: Natural = 0,
        seed: Natural = 0,
    ) -> None:
        super().__init__(extractor, fake, real)
        self.least, self.bootstrap, self.seed = max(2, least), bootstrap, seed
        size = extractor.feature_dim
        for part in ("fake", "real"):
            self.add_state(f"{part}_count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
            self.add_state(f"{part}_sum", torch.zeros(size).double(), dist_reduce_fx="sum")
            self.add_state(f"{part}_outer", torch.zeros(size, size).double(), dist_reduce_fx="sum")
        self.add_state("fake_features", [], dist_reduce_fx="cat")
        self.known: Statistics | None = None
        self._taken: Tensor | None = None  # of each fake picture, once it was asked for
        if statistics is not None:
            self.take_real(read_statistics(statistics, extractor))
            self.protocol = f"{fake} against {statistics}, {extractor.name} features ({size})"

    @property
    def sides(self) -> tuple[str, ...]:
        return (self.fake,) if self.known else (self.fake, self.real)

    @property
    def count(self) -> int:
        return int(self.fake_count)  # pyright: ignore[reportArgumentType]

    def wanted_real(self) -> tuple[str, FeatureExtractor] | None:
        return None if self.known or self.real == "samples" else (self.real, self.extractor)

    def take_real(self, statistics: Statistics) -> None:
        self.known, self._taken = statistics, None

    def real_statistics(self) -> Statistics:
        if self.known:
            return self.known
        return Statistics(*self._sums("real"), int(self.real_count))  # pyright: ignore[reportArgumentType]

    def caveat(self) -> str:
        told = []
        if self.known and not self.known.known:
            told += ["the file does not say of which features its statistics are, nor after which resize"]
        if self.known and self.known.count is None:
            told += ["nor of how many pictures" if told else "the file does not say of how many pictures"]
        told += ["no more pictures than features: the covariance is singular"] if self.suffix() else []
        crude = [] if self.bootstrap or self.are_answers else ["interval at this n"]
        crude += ["differences in pairs"] if self.fake == "samples" and not self.are_answers else []
        told += [f"{' and '.join(crude)} to first order in each of the {self.fake}"] if crude else []
        return "; ".join(told)

    def suffix(self) -> str:
        counts = [self.count, self.known.count if self.known else int(self.real_count)]  # pyright: ignore[reportArgumentType]
        fewest = min(count for count in counts if count is not None)
        return f"_biased_n{fewest}" if fewest <= self.extractor.feature_dim else ""

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        kept, part = features_of(self, self.extractor, side, images), self.part_of(side)
        self._taken = None
        if side == self.fake == "samples":
            self.take_places(images)
        if part == "fake":
            self.fake_features.append(kept)
        features = kept.double()
        count, total, outer = (getattr(self, f"{part}_{name}") for name in ("count", "sum", "outer"))
        count += len(features)
        total += features.sum(0)
        outer.addmm_(features.T, features)  # in place: a second [D, D] would cost more than the product

    def compute(self) -> Tensor:
        return frechet_distance(*self._moments("fake"), *self._moments("real"))

    def parts(self) -> Iterator[tuple[str, Tensor, Interval | None]]:
        value = type(self).compute(self)
        yield self.suffix(), value, self._around(float(value))

    def interval(self) -> Interval | None:
        return self._around(float(type(self).compute(self)))

    def per_sample(self) -> Tensor | None:
        """The distance as the mean of what each sample makes of it, to first order; None of other pictures.

        The distance and by how much the influence of a sample exceeds their mean: of two sets that share
        their noise, the mean of the differences of such values has the variance of that of the distances
        (the infinitesimal jackknife of a difference; Jaeckel 1972).
        """
        return self.in_turn(self._each()) if self.fake == "samples" and not self.are_answers else None

    @property
    def are_answers(self) -> bool:
        """Whether the real pictures are those of the fake ones: others of these would bring others of them.

        What is known of a distance with its real pictures held fixed then tells nothing.
        """
        return self.real == "targets"

    def _each(self) -> Tensor:
        """Such values of the fake pictures as they were gathered, [N]; taken once of the same pictures."""
        if self._taken is None or len(self._taken) != self.count:
            features, target = gathered(self.fake_features), FrechetTo(*self._moments("real"))
            terms = target.influence(features, *self._moments("fake"))
            self._taken = type(self).compute(self) + (terms - terms.mean())
        return self._taken

    def _around(self, value: float) -> Interval | None:
        if self.are_answers:
            return None
        if not self.bootstrap:
            return normal(value, self._each())
        target = FrechetTo(*self._moments("real"))
        features = in_fixed_order(gathered(self.fake_features))
        generator = torch.Generator().manual_seed(self.seed)
        return bootstrap(
            lambda index: target(*moments(features[index])), value, len(features), self.bootstrap, generator
        )

    def _moments(self, part: str) -> tuple[Tensor, Tensor]:
        if part == "real" and self.known:
            return self.known.mean.to(self.device), self.known.cov.to(self.device)
        return self._sums(part)

    def _sums(self, part: str) -> tuple[Tensor, Tensor]:
        n, total, outer = (getattr(self, f"{part}_{name}") for name in ("count", "sum", "outer"))
        self.refuse_few(part, int(n), self.least)
        mean = total / n
        return mean, (outer - n * torch.outer(mean, mean)) / (n - 1)


class FrechetTo:
    """The distance to one Gaussian, mean [D] and covariance [D, D], that is factored once."""

    def __init__(self, mean: Tensor, cov: Tensor) -> None:
        self.mean, self.cov, self.root = mean, cov, root_of(cov)

    def __call__(self, mean: Tensor, cov: Tensor) -> Tensor:
        apart = (mean - self.mean).square().sum()
        return apart + cov.trace() + self.cov.trace() - 2 * trace_of_root(self.root, cov)

    def influence(self, features: Tensor, mean: Tensor, cov: Tensor) -> Tensor:
        """How fast the distance of features, [N, D], grows with the weight of each, [N], but for a constant.

        The variance of a mean of such terms is that of the infinitesimal jackknife (Jaeckel 1972). With
        S = C' C / (n - 1) and S' = R R' the last trace is the sum of the singular values of Y = C R over
        (n - 1)^1/2. Its gradient is the orthogonal factor of Y, so row i takes part by the diagonal of
        (Y Y')^1/2, or by y_i' (Y' Y)^-1/2 y_i: whichever of the two matrices is smaller.
        """
        n, parts = len(features), features.split(_ROWS)
        if n < self.root.shape[1]:
            y = (features.double() - mean) @ self.root
            values, vectors = torch.linalg.eigh(y @ y.T)
            taken = vectors.square() @ values.clamp(min=0).sqrt() * (n - 1) ** 0.5
        else:
            values, vectors = torch.linalg.eigh(self.root.T @ cov @ self.root)
            sure = values > len(values) * torch.finfo(values.dtype).eps * values.max()
            turned = self.root @ (vectors[:, sure] / values[sure] ** 0.25)
            taken = torch.cat([((part.double() - mean) @ turned).square().sum(1) for part in parts])
        apart = torch.cat([(part.double() - mean) @ (mean - self.mean) for part in parts])
        wide = torch.cat([(part.double() - mean).square().sum(1) for part in parts])
        return 2 * apart + n / (n - 1) * (wide - taken)


def frechet_distance(mean: Tensor, cov: Tensor, mean_: Tensor, cov_: Tensor) -> Tensor:
    """Of two Gaussians with means [D] and covariances [D, D], in float64.

    The last trace is the same from either side. It is taken from that of the lower rank: on the other
    side rounding would put something of size 1e-8, its root, in the place of each zero eigenvalue.
    """
    root, root_ = root_of(cov), root_of(cov_)
    cross = trace_of_root(root, cov_) if root.shape[1] <= root_.shape[1] else trace_of_root(root_, cov)
    return (mean - mean_).square().sum() + cov.trace() + cov_.trace() - 2 * cross


def trace_of_root(root: Tensor, cov: Tensor) -> Tensor:
    """tr (S S')^1/2 for S = R R', as the sum of the square roots of the eigenvalues of R' S' R."""
    return torch.linalg.eigvalsh(root.T @ cov @ root).clamp(min=0).sqrt().sum()


def root_of(cov: Tensor) -> Tensor:
    """R with R R' = cov, [D, rank]."""
    factor, failed = torch.linalg.cholesky_ex(cov)
    unsure = factor.diagonal().square() <= _rounding(cov) * cov.diagonal()
    return pivoted_cholesky(cov) if int(failed) or bool(unsure.any()) else factor


def pivoted_cholesky(cov: Tensor) -> Tensor:
    """A root of a covariance that has no full rank, [D, rank].

    Of what is left of the features' variances the largest is eliminated, each relative to its own,
    until there is only rounding (Higham 1990, sec. 1). That is cheap where the rank is low.
    """
    scale = cov.diagonal().clamp(min=0).sqrt()
    scale = torch.where(scale > 0, scale, 1.0)  # a feature that never changes
    left, rows, rank = cov.diagonal() / scale.square(), torch.empty_like(cov), 0
    while rank < len(cov) and (largest := left.max()) > _rounding(cov):
        pivot = int(left.argmax())
        known = rows[:rank, pivot] @ rows[:rank]
        rows[rank] = (cov[pivot] / (scale * scale[pivot]) - known) / largest.sqrt()
        left = left - rows[rank].square()
        left[pivot] = 0
        rank += 1
    return rows[:rank].T * scale[:, None]


def _rounding(cov: Tensor) -> float:
    """What share of a variance may be nothing but rounding (LAPACK, dpstrf)."""
    return len(cov) * torch.finfo(cov.dtype).eps


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] and unbiased covariance [D, D] of features [N, D], in float64."""
    features = features.double()
    mean = features.mean(0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)
