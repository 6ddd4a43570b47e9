"""Ancestral samplers: a draw from the learned p(x_s | x_t) at every step (Ho 2020, alg. 2).

Its mean is that of q(x_s | x_t, x0) and its variance one of three. With beta the variance of q(x_t | x_s),
the least it can be is beta_small = beta sigma_s^2 / sigma_t^2, right for data that is one point, and the
most beta_large, right for data that is unit white noise (Ho 2020, sec. 3.2).
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from condiff.diffusion.parameterization import Prediction
from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.samplers import Node, Past, Predict, Sampler


class Ancestral(Sampler, ABC):
    """The step that the three share. The last one, to the data, adds no noise."""

    reads: ClassVar[tuple[str, ...]] = ("pull",)

    @property
    def stochastic(self) -> bool:
        return True

    def step(
        self, predict: Predict, x: Tensor, now: Node, then: Node, past: Past, rng: SampleNoise | None
    ) -> Tensor:
        p = predict(x, now)
        kept, small = now.alpha / then.alpha, (then.sigma / now.sigma) ** 2
        beta = now.sigma**2 - (kept * then.sigma) ** 2
        mean = then.alpha * beta / now.sigma**2 * p.x0 + kept * small * x
        if then.sigma == 0 or rng is None:
            return mean
        size = then.alpha**2 + then.sigma**2  # of x_s, for data of unit variance
        large = beta * size / ((kept**2) * size + beta)
        variance = self.variance(beta * small, large, p)
        if p.pull is not None:  # Dhariwal & Nichol 2021, alg. 1: the variance, not its root
            mean = mean + variance * p.pull(mean)
        return mean + variance**0.5 * rng.normal(*x.shape[1:])

    @abstractmethod
    def variance(self, small: float, large: float, p: Prediction) -> float | Tensor:
        """Of the step, between its two bounds."""


class AncestralSmall(Ancestral):
    """The least variance; the same draw as DDIM at eta = 1."""

    def variance(self, small: float, large: float, p: Prediction) -> float | Tensor:
        return small


class AncestralLarge(Ancestral):
    """The most variance; on a variance-preserving process it is beta."""

    def variance(self, small: float, large: float, p: Prediction) -> float | Tensor:
        return large


class AncestralLearned(Ancestral):
    """A variance that the network puts between the two, in their logarithms (Nichol 2021, eq. 15)."""

    def variance(self, small: float, large: float, p: Prediction) -> float | Tensor:
        if p.spread is None:
            raise ValueError(
                "AncestralLearned needs a network that answers with twice the channels, the second half for "
                "the variance; use sampler=ancestral"
            )
        share = (p.spread + 1) / 2
        return (share * math.log(large) + (1 - share) * math.log(small)).exp()
