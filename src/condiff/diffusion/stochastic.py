"""Samplers that add noise on the way to correct the errors of the steps before."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from condiff.diffusion.grids import Grid
from condiff.diffusion.process import Process
from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.samplers import Node, Past, Predict, Sampler, euler_step, heun_step
from condiff.ranges import Count, NonNegative, Positive, checked

MOST_RAISE = math.sqrt(2) - 1  # never more new noise than there is already (Karras 2022, alg. 2)


class Churned(Sampler):
    """Euler after a small step back up (Karras 2022, alg. 2, without its second-order correction).

    Where s_min <= sigma / alpha <= s_max the noise level is raised by the share churn / steps.
    """

    @checked
    def __init__(
        self,
        steps: Count,
        churn: NonNegative,
        s_min: NonNegative = 0.0,
        s_max: Positive = 1e9,
        s_noise: Positive = 1.0,
        grid: Grid | None = None,
    ) -> None:
        super().__init__(steps, grid)
        self.churn, self.s_min, self.s_max, self.s_noise = churn, s_min, s_max, s_noise

    @property
    def stochastic(self) -> bool:
        return self.churn > 0

    def nodes(self, process: Process, like: Tensor) -> list[Node]:
        found = super().nodes(process, like)
        return [*(self._raised(node, process, like) for node in found[:-1]), found[-1]]

    def step(
        self, predict: Predict, x: Tensor, now: Node, then: Node, past: Past, rng: SampleNoise | None
    ) -> Tensor:
        up = now.raised
        if up is not None and rng is not None:
            ratio = up.alpha / now.alpha
            added = self.s_noise * math.sqrt(up.sigma**2 - (ratio * now.sigma) ** 2)
            x, now = ratio * x + added * rng.normal(*x.shape[1:]), up
        return self.solve(predict, x, now, then)

    def solve(self, predict: Predict, x: Tensor, now: Node, then: Node) -> Tensor:
        """The deterministic part."""
        return euler_step(predict, x, now, then)

    def _raised(self, node: Node, process: Process, like: Tensor) -> Node:
        if not (node.alpha > 0 and self.churn > 0):
            return node
        level = node.sigma / node.alpha
        if not self.s_min <= level <= self.s_max:
            return node
        to = level * (1 + min(self.churn / self.steps, MOST_RAISE))
        time = process.time_of(torch.tensor([to], dtype=torch.float64)).clamp(max=process.t_max)
        (up,) = self.nodes_at(process, time, like)
        return node if up.sigma / up.alpha <= level else replace(node, raised=up)


class ChurnedHeun(Churned):
    """The stochastic sampler of EDM (Karras 2022, alg. 2)."""

    def solve(self, predict: Predict, x: Tensor, now: Node, then: Node) -> Tensor:
        return heun_step(predict, x, now, then)


class FlowSDE(Sampler):
    """The reverse SDE of a flow, or of any process, with the marginals of its ODE.

    Noise is forgotten at ``strength`` times the rate at which the forward process adds it: 0 is DDIM, 1 is
    DDIM at eta = 1, and without bound all the noise of every step is new. Exact where x0 stands still:
    a share 1 - exp(-2 strength h) of the variance at x_s is new, with h the step in log(alpha / sigma)
    (the family of Ma 2024, eq. 5, with w_t in units of the process's own).
    """

    @checked
    def __init__(self, steps: Count, strength: NonNegative = 1.0, grid: Grid | None = None) -> None:
        super().__init__(steps, grid)
        self.strength = strength

    @property
    def stochastic(self) -> bool:
        return self.strength > 0

    def step(
        self, predict: Predict, x: Tensor, now: Node, then: Node, past: Past, rng: SampleNoise | None
    ) -> Tensor:
        p = predict(x, now)
        x = then.alpha * p.x0
        if then.sigma == 0:
            return x
        h = then.half_log_snr - now.half_log_snr
        old = math.exp(-self.strength * h) if self.strength else 1.0
        x = x + then.sigma * old * p.eps
        if rng is None or old == 1:
            return x
        return x + then.sigma * math.sqrt(1 - old**2) * rng.normal(*x.shape[1:])
