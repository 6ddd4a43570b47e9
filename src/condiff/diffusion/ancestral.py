"""Ancestral samplers: a draw from the learned p(x_s | x_t) at every step (Ho 2020, alg. 2).

Its mean is that of q(x_s | x_t, x0) and its variance one of three: the least it can be, the most, or one
that the network puts between the two.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from condiff.diffusion.parameterization import Prediction
from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.samplers import Node, Past, Predict, Sampler
from condiff.diffusion.transition import learned_log_variance, transition


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
        q = transition(now, then)
        mean = q.of_x0 * p.x0 + q.of_x * x
        if then.sigma == 0 or rng is None:
            return mean
        variance = self.variance(q.small, q.large, p)
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

    needs_variance: ClassVar[bool] = True  # of the network, as its second half of channels

    def variance(self, small: float, large: float, p: Prediction) -> float | Tensor:
        if p.spread is None:
            raise ValueError(
                "AncestralLearned needs a network that answers with twice the channels, the second half for "
                "the variance; use network.learned_variance=true, or sampler=ancestral"
            )
        return learned_log_variance(p.spread, math.log(small), math.log(large)).exp()
