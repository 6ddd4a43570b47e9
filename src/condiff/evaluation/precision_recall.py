"""Are samples like the data, and is all of the data among them? By neighbourhoods in features."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from condiff.evaluation.distances import centred, nearest_others, row_blocks, squared_distances
from condiff.evaluation.intervals import Interval, normal
from condiff.evaluation.measurement import Side
from condiff.evaluation.sets import FeatureSets
from condiff.evaluation.statistics import FeatureExtractor
from condiff.ranges import Count, checked


@dataclass(frozen=True)
class Manifolds:
    """What each picture says; a ball reaches from a picture to its k-th nearest of the same set."""

    precise: Tensor  # [N] bool: the fake picture lies in a ball of a real one
    recalled: Tensor  # [M] bool: the real picture lies in a ball of a fake one
    dense: Tensor  # [N] float64: in how many balls of real ones the fake picture lies, over k
    covered: Tensor  # [M] bool: a fake picture lies in the ball of the real one


class PrecisionRecall(FeatureSets):
    """Improved precision and recall (Kynkaanniemi 2019, eq. 1-2), density and coverage (Naeem 2020, sec. 3).

    neighbours: k of precision and recall, 3 in the paper.
    dense_neighbours: k of density and coverage, 5 in the paper.
    """

    higher_is_better = True
    part_names: ClassVar = ("_precision", "_recall", "_density", "_coverage")

    @checked
    def __init__(
        self,
        extractor: FeatureExtractor,
        fake: Side = "samples",
        real: Side = "train",
        neighbours: Count = 3,
        dense_neighbours: Count = 5,
    ) -> None:
        super().__init__(extractor, fake, real)
        self.neighbours, self.dense_neighbours = neighbours, dense_neighbours
        self.protocol += f", {neighbours} and {dense_neighbours} neighbours"

    def compute(self) -> dict[str, Tensor]:
        return {name: said.mean() for name, said in self._seen().items()}

    def parts(self) -> Iterator[tuple[str, Tensor, Interval | None]]:
        """Intervals only where the fake pictures are the ones counted: their balls are not independent."""
        for name, said in self._seen().items():
            value = said.mean()
            yield f"_{name}", value, normal(float(value), said) if name in ("precision", "density") else None

    def _seen(self) -> dict[str, Tensor]:
        """What each picture says, [N] or [M] float64."""
        least = max(self.neighbours, self.dense_neighbours) + 1
        fake, real = self.features("fake", least), self.features("real", least)
        seen = manifolds(fake, real, self.neighbours, self.dense_neighbours)
        said = {
            "precision": seen.precise,
            "recall": seen.recalled,
            "density": seen.dense,
            "coverage": seen.covered,
        }
        return {name: values.double() for name, values in said.items()}


def manifolds(fake: Tensor, real: Tensor, k: int, dense_k: int) -> Manifolds:
    """Of features [N, D] and [M, D], in three passes over blocks of distances."""
    fake, real = centred(fake, real)
    fake_ball = nearest_others(fake, k)[:, k - 1]
    around = nearest_others(real, max(k, dense_k))
    real_ball, dense_ball = around[:, k - 1], around[:, dense_k - 1]
    precise, dense = [], []
    recalled = covered = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for rows in row_blocks(len(fake), len(real)):
        block = squared_distances(fake[rows], real)
        within = block <= dense_ball
        precise.append((block <= real_ball).any(1))
        dense.append(within.sum(1).double() / dense_k)
        covered = covered | within.any(0)
        recalled = recalled | (block <= fake_ball[rows, None]).any(0)
    return Manifolds(torch.cat(precise), recalled, torch.cat(dense), covered)
