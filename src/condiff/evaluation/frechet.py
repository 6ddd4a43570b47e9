"""Frechet distance between two sets of pictures in some feature space."""

from typing import Literal

import torch
from torch import Tensor

from condiff.evaluation.measurement import FeatureExtractor, Measurement
from condiff.ranges import checked


class FrechetDistance(Measurement):
    """||mu - mu'||^2 + tr(S + S' - 2 (S S')^1/2) (Heusel 2017, eq. 6), from float64 sums.

    ``fake`` is measured against ``real``; the covariances are unbiased (n - 1). It is called FID only
    with the Inception features of 2015.
    """

    higher_is_better = False

    @checked
    def __init__(
        self,
        extractor: FeatureExtractor,
        fake: Literal["samples", "train", "held_out"] = "samples",
        real: Literal["samples", "train", "held_out"] = "train",
    ) -> None:
        super().__init__()
        if fake == real:
            raise ValueError(f"a Frechet distance compares two different sets, got {fake!r} twice")
        self.extractor, self.fake, self.real = extractor, fake, real
        self.protocol = f"{fake} against {real}, {extractor.name} features ({extractor.feature_dim})"
        size = extractor.feature_dim
        for side in ("fake", "real"):
            self.add_state(f"{side}_count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
            self.add_state(f"{side}_sum", torch.zeros(size).double(), dist_reduce_fx="sum")
            self.add_state(f"{side}_outer", torch.zeros(size, size).double(), dist_reduce_fx="sum")

    @property
    def sides(self) -> tuple[str, ...]:
        return (self.fake, self.real)

    @property
    def count(self) -> int:
        return int(self.fake_count)  # pyright: ignore[reportArgumentType]

    def caveat(self) -> str:
        few = min(int(self.fake_count), int(self.real_count)) <= self.extractor.feature_dim  # pyright: ignore[reportArgumentType]
        return "no more pictures than features: the covariance is singular" if few else ""

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        features = self.extractor(images).double()
        if not features.isfinite().all():
            raise ValueError(f"{self.extractor.name} features of the {side} pictures are not finite")
        part = "fake" if side == self.fake else "real"
        for name, new in (
            ("count", len(features)),
            ("sum", features.sum(0)),
            ("outer", features.T @ features),
        ):
            setattr(self, f"{part}_{name}", getattr(self, f"{part}_{name}") + new)

    def compute(self) -> Tensor:
        return frechet_distance(*self._moments("fake"), *self._moments("real"))

    def _moments(self, part: str) -> tuple[Tensor, Tensor]:
        n, total, outer = (getattr(self, f"{part}_{name}") for name in ("count", "sum", "outer"))
        if n < 2:
            raise ValueError(
                f"a Frechet distance needs at least 2 {getattr(self, part)} pictures, got {int(n)}"
            )
        mean = total / n
        return mean, (outer - n * torch.outer(mean, mean)) / (n - 1)


def frechet_distance(mean: Tensor, cov: Tensor, mean_: Tensor, cov_: Tensor) -> Tensor:
    """Of two Gaussians with means [D] and covariances [D, D], in float64.

    tr (S S')^1/2 is the sum of the square roots of the eigenvalues of R' S' R, with S = R R'.
    """
    values, vectors = torch.linalg.eigh(cov)
    root = vectors * values.clamp(min=0).sqrt()
    cross = torch.linalg.eigvalsh(root.T @ cov_ @ root).clamp(min=0).sqrt().sum()
    return (mean - mean_).square().sum() + cov.trace() + cov_.trace() - 2 * cross
