"""The variational bound of a denoiser, one step of its chain at a time: what trains a learned variance.

-log p(x0) is at most the sum of N terms, KL(q(x_s | x_t, x0) || p(x_s | x_t)) for each step and the negative
log-likelihood of the data for the one that ends there (Ho 2020, eq. 5), and a constant. A step is 1 / N of
the process's own clock.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor
from torch.special import log_ndtr

from condiff.diffusion.process import Process
from condiff.diffusion.transition import Transition, learned_log_variance, transition
from condiff.ranges import NonNegative, Range, checked

HALF_LEVEL = 1 / 255  # of the 256 that a pixel in [-1, 1] may have

Several = Annotated[int, Range(low=2)]
Likelihood = Callable[[Tensor, Tensor, Tensor], Tensor]


def levels(x0: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log p of each pixel's level: a Gaussian's mass there, at the ends its tail (Ho 2020, eq. 13)."""
    # in float64, since far out the derivative of torch's log_ndtr has no digits in float32
    per_std = (-log_variance.double() / 2).exp()
    upper, lower = (x0 - mean + HALF_LEVEL) * per_std, (x0 - mean - HALF_LEVEL) * per_std
    # on the lower tail, where the mass is no difference of two numbers close to one
    mirrored = upper + lower > 0
    log_high = log_ndtr(torch.where(mirrored, -lower, upper))
    log_low = log_ndtr(torch.where(mirrored, -upper, lower))
    less = (log_low - log_high).clamp(max=-torch.finfo(torch.float64).eps)
    inside = log_high + (-torch.expm1(less)).log()
    lowest, highest = x0 < -1 + HALF_LEVEL, x0 > 1 - HALF_LEVEL
    log_p = torch.where(lowest, log_ndtr(upper), torch.where(highest, log_ndtr(-lower), inside))
    return log_p.to(log_variance)


def density(x0: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log p of values that have no levels, such as latents: a Gaussian's density, which may be above 1."""
    return -0.5 * (math.log(2 * math.pi) + log_variance + (x0 - mean) ** 2 * (-log_variance).exp())


class VariationalBound:
    """``weight`` times the bound on -log p(x0) in bits per dimension (Nichol 2021, eq. 16: lambda = 0.001).

    ``num_steps`` is that of the process unless given, and 1,000 where time is continuous. ``likelihood``, of
    the step that ends in the data, is ``levels`` for pixels and ``density`` for anything else.
    """

    @checked
    def __init__(
        self, weight: NonNegative = 0.001, num_steps: Several | None = None, likelihood: Likelihood = levels
    ) -> None:
        self.weight, self.num_steps, self.likelihood = weight, num_steps, likelihood

    def __call__(self, process: Process, x0: Tensor, predicted: Tensor, spread: Tensor, t: Tensor) -> Tensor:
        """The estimate that one time of each sample gives, [B]; at 1,000 steps it is the term itself."""
        return self.weight * self.steps(process) * self.term(process, x0, predicted, spread, t)

    def term(self, process: Process, x0: Tensor, predicted: Tensor, spread: Tensor, t: Tensor) -> Tensor:
        """Of the step from t back, in bits per dimension, [B].

        ``predicted`` is the x0 of the denoiser. It is not trained by this: the gradient reaches the variance
        only (Nichol 2021, sec. 3.1).
        """
        first, q = self.step(process, t)
        predicted, log_small = predicted.detach(), q.small.log().to(x0)
        log_variance = learned_log_variance(spread, log_small, q.large.log().to(x0))
        wider = log_variance - log_small
        miss = (q.of_x0**2 / q.small).to(x0) * (x0 - predicted) ** 2  # of the means, in variances of q
        divergence = (wider + torch.expm1(-wider) + miss * (-wider).exp()) / 2
        end = -self.likelihood(x0, predicted, log_variance)
        nats = torch.where(first, end.flatten(1).mean(1), divergence.flatten(1).mean(1))
        return nats / math.log(2)

    def step(self, process: Process, t: Tensor) -> tuple[Tensor, Transition[Tensor]]:
        """Whether the step from t, [B], ends in the data, and its coefficients, [B, 1, 1, 1] float64.

        A time nearer to the first step of the chain than to the second stands for the first. Its least
        variance, of an x0 that is given, would be 0; it is that of the second, as in the code of Nichol 2021.
        """
        n = self.steps(process)
        u = process.noise_left(t.double())
        first = u * n < 1.5
        u = torch.where(first, 2 / n, u)
        q = transition(process.at(process.clock(u)), process.at(process.clock(u - 1 / n)))
        start = process.at(process.clock(u.new_full((1,), 1 / n)))
        end = transition(start, process.at(u.new_full((1,), process.t_min)))
        return first, replace(q, large=torch.where(first.view_as(q.large), end.large, q.large))

    def steps(self, process: Process) -> int:
        """N; ValueError where the process has no second step."""
        n = self.num_steps or getattr(process, "num_steps", 1000)
        if n < 2:
            raise ValueError("process.num_steps must be >= 2 where a variance is learned, got 1")
        return n
