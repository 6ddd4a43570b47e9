"""The closed form behind every Frechet distance, against optimal transport between samples.

For Gaussians the squared 2-Wasserstein distance is the formula of ``frechet_distance`` (Dowson & Landau
1982); of all pairs with the same moments they are the nearest (Gelbrich 1990).
"""

import math
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from condiff.evaluation.frechet import frechet_distance, moments

COUNTS = (16, 32, 64, 128, 256, 512, 1024)
DRAWN = 8192  # points of each side at every count: so many more draws where there are few points


@dataclass(frozen=True)
class Gaussian:
    mean: Tensor  # [D]
    root: Tensor  # [D, D], the covariance is root root'

    def __call__(self, num: int, generator: torch.Generator) -> Tensor:
        noise = torch.randn(num, len(self.mean), generator=generator, dtype=torch.float64)
        return self.mean + noise @ self.root.T

    def moments(self) -> tuple[Tensor, Tensor]:
        return self.mean, self.root @ self.root.T


@dataclass(frozen=True)
class Sign:
    """-1 or 1: mean and variance of N(0, 1), and nothing else of it."""

    def __call__(self, num: int, generator: torch.Generator) -> Tensor:
        return 2 * torch.randint(2, (num, 1), generator=generator).double() - 1

    def moments(self) -> tuple[Tensor, Tensor]:
        return torch.zeros(1, dtype=torch.float64), torch.eye(1, dtype=torch.float64)


@dataclass(frozen=True)
class Pair:
    """Two distributions, and the squared 2-Wasserstein distance between them as it is known."""

    name: str
    one: Gaussian | Sign
    other: Gaussian | Sign
    known: float

    def formula(self) -> float:
        return float(frechet_distance(*self.one.moments(), *self.other.moments()))


def gaussian(mean: list[float], root: list[list[float]]) -> Gaussian:
    return Gaussian(torch.tensor(mean, dtype=torch.float64), torch.tensor(root, dtype=torch.float64))


LINE = gaussian([0.0], [[1.0]])
CUBE = Gaussian(torch.zeros(4).double(), torch.eye(4).double())
PAIRS = (
    # (mean - mean')^2 + (std - std')^2
    Pair("1-D: N(0, 1), N(1, 2²)", LINE, gaussian([1.0], [[2.0]]), 2.0),
    # roots that commute: |mean - mean'|^2 + |root - root'|^2
    Pair(
        "2-D: means and axes differ",
        gaussian([0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]]),
        gaussian([1.0, 0.0], [[1.0, -0.5], [-0.5, 1.0]]),
        3.0,
    ),
    Pair("4-D: the same Gaussian", CUBE, CUBE, 0.0),
    # x goes to its sign: E (|x| - 1)^2
    Pair("1-D: N(0, 1), a random sign", LINE, Sign(), 2 - 2 * math.sqrt(2 / math.pi)),
)


def squared_transport(x: Tensor, y: Tensor) -> float:
    """Squared 2-Wasserstein distance of two samples, [N, D] each: the mean over the best matching."""
    cost = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square().numpy()
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].mean())


def frechet_of(x: Tensor, y: Tensor) -> float:
    return float(frechet_distance(*moments(x), *moments(y)))


def estimates(pair: Pair, num: int, seed: int = 0) -> tuple[list[float], list[float]]:
    """Of each draw of ``num`` samples: transport between them, and the formula on their moments."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [(pair.one(num, generator), pair.other(num, generator)) for _ in range(DRAWN // num)]
    return [squared_transport(x, y) for x, y in drawn], [frechet_of(x, y) for x, y in drawn]
