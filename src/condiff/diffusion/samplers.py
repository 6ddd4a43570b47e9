"""Samplers: walk from noise to data along a grid of times.

The loop is written once. A solver is one ``step`` from x_t to x_s, s < t, and works for every process
because it speaks alpha, sigma, x0 and eps only. Its coefficients are Python floats, known before the
walk: they are exact in float64, cost no kernel, and nothing waits for the device.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import Denoiser, fresh
from condiff.diffusion.grids import Grid, UniformTime
from condiff.diffusion.parameterization import Prediction
from condiff.diffusion.process import Marginal, Process
from condiff.diffusion.randomness import SampleNoise
from condiff.ranges import Count, NonNegative, checked


@dataclass(frozen=True, slots=True)
class Node:
    """A time of the walk: its coefficients for the solver, and its marginal for the denoiser."""

    alpha: float
    sigma: float
    marginal: Marginal  # the same for each of the batch
    raised: "Node | None" = None  # a noisier time to go back up to first

    @property
    def half_log_snr(self) -> float:
        """lambda = log(alpha / sigma) of the DPM-Solver papers; infinite at the ends of a flow."""
        return _log(self.alpha) - _log(self.sigma)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a step started from, for the steps after it."""

    node: Node
    x: Tensor
    x0: Tensor  # what the network said of x


Predict = Callable[[Tensor, Node], Prediction]
Past = list[Seen]
# What a guidance may ask of the step itself, and the samplers that can do it; the config reads it too.
ASIDES = {
    "renoise": "adds another noise again than it takes away; use sampler=ddim, ddpm, euler or dpmpp_2m",
    "pull": "moves the mean of an ancestral step; use sampler=ancestral, or guidance=classifier",
}


class Sampler(ABC):
    """A solver, the number of its steps, and the grid it walks on."""

    reads: ClassVar[tuple[str, ...]] = ()  # which of the ASIDES of a prediction it makes use of

    @checked
    def __init__(self, steps: Count, grid: Grid | None = None) -> None:
        self.steps = steps
        self.grid = grid or UniformTime()

    @property
    def stochastic(self) -> bool:
        """Whether noise is added on the way."""
        return False

    @torch.no_grad()
    def __call__(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        cond: Condition,
        rng: SampleNoise | None = None,
        watch: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Turn unit noise, [B, C, H, W], into samples of x0; ``watch`` is told how many steps are done."""
        if self.stochastic and rng is None:
            raise ValueError(f"{type(self).__name__} adds noise on the way: give it an rng (SampleNoise)")
        past: Past = []
        denoiser = fresh(denoiser)
        predict = self._asking(denoiser, cond)
        x = denoiser.process.prior(noise)
        for i, (now, then) in enumerate(pairwise(self.nodes(denoiser.process, noise)), 1):
            x = self.step(predict, x, now, then, past, rng)
            if watch is not None:
                watch(i)
        return x

    def nodes(self, process: Process, like: Tensor) -> list[Node]:
        """The times of the walk, with everything that depends on them alone."""
        times = self.grid(process, self.steps)
        if times[-2] < process.t_low * (1 - 1e-9):
            raise ValueError(
                f"{type(self).__name__}.steps = {self.steps} is too many for {type(process).__name__}, "
                f"which knows no time between {process.t_low:g} and {process.t_min:g}"
            )
        return self.nodes_at(process, times, like)

    def _asking(self, denoiser: Denoiser, cond: Condition) -> Predict:
        def predict(x_t: Tensor, node: Node) -> Prediction:
            p = denoiser(x_t, node.marginal, cond)
            for name, what in ASIDES.items():
                if name not in self.reads and getattr(p, name) is not None:
                    raise ValueError(f"sampler: {type(self).__name__} cannot follow a guidance that {what}")
            return p

        return predict

    @staticmethod
    def nodes_at(process: Process, times: Tensor, like: Tensor) -> list[Node]:
        """These times, for a batch as large as ``like``."""
        m = process.at(times)
        pairs = zip(m.alpha.flatten().tolist(), m.sigma.flatten().tolist(), strict=True)
        rows = m.to(like)
        return [
            Node(alpha, sigma, rows.row(i, len(like), level=sigma / alpha if alpha else math.inf))
            for i, (alpha, sigma) in enumerate(pairs)
        ]

    @abstractmethod
    def step(
        self, predict: Predict, x: Tensor, now: Node, then: Node, past: Past, rng: SampleNoise | None
    ) -> Tensor:
        """From x at ``now`` to x at ``then``; ``past`` is the solver's own memory, empty at the start."""


class DDIM(Sampler):
    """Deterministic at eta = 0 (Song 2020, eq. 12), the DDPM posterior at eta = 1 (Ho 2020, eq. 7).

    At eta = 1 it is also Euler ancestral, whatever the process.
    """

    reads: ClassVar[tuple[str, ...]] = ("renoise",)

    @checked
    def __init__(self, steps: Count, eta: NonNegative = 0.0, grid: Grid | None = None) -> None:
        super().__init__(steps, grid)
        self.eta = eta

    @property
    def stochastic(self) -> bool:
        return self.eta > 0

    def step(
        self, predict: Predict, x: Tensor, now: Node, then: Node, past: Past, rng: SampleNoise | None
    ) -> Tensor:
        p = predict(x, now)
        kept = (now.alpha / then.alpha * then.sigma) ** 2  # the part of x_t's variance that x_s has already
        added = self.eta * then.sigma / now.sigma * math.sqrt(max(now.sigma**2 - kept, 0))
        eps = p.eps if p.renoise is None else p.renoise
        x = then.alpha * p.x0 + math.sqrt(max(then.sigma**2 - added**2, 0)) * eps
        if rng is None or added == 0:
            return x
        return x + added * rng.normal(*x.shape[1:])


class Euler(Sampler):
    """First order on the probability-flow ODE dx = x0 d alpha + eps d sigma (Song 2021, eq. 13).

    Where x0 and eps stand still this is exact, so it is DDIM at eta = 0.
    """

    reads: ClassVar[tuple[str, ...]] = ("renoise",)

    def step(
        self, predict: Predict, x: Tensor, now: Node, then: Node, past: Past, rng: SampleNoise | None
    ) -> Tensor:
        return euler_step(predict, x, now, then)


class Heun(Sampler):
    """Second order on the same ODE, with two network calls a step (Karras 2022, alg. 1)."""

    def step(
        self, predict: Predict, x: Tensor, now: Node, then: Node, past: Past, rng: SampleNoise | None
    ) -> Tensor:
        return heun_step(predict, x, now, then)


class DPMSolverPP2M(Sampler):
    """DPM-Solver++(2M): second order with one network call a step (Lu 2022b, alg. 2)."""

    reads: ClassVar[tuple[str, ...]] = ("renoise",)

    def step(
        self, predict: Predict, x: Tensor, now: Node, then: Node, past: Past, rng: SampleNoise | None
    ) -> Tensor:
        p = predict(x, now)
        x = renoised(x, p, now)
        x0 = extrapolated(p.x0, now, then, past[-1] if past else None)
        past[:] = [Seen(now, x, p.x0)]
        return toward_x0(x, x0, now, then)


def extrapolated(x0: Tensor, now: Node, then: Node, last: Seen | None) -> Tensor:
    """x0 halfway through the step, on a line in lambda through the one before (Lu 2022b, alg. 2)."""
    h = then.half_log_snr - now.half_log_snr
    if last is None or not h < math.inf:  # to sigma = 0 the step is infinitely long, and first order
        return x0
    return x0 + h / (2 * (now.half_log_snr - last.node.half_log_snr)) * (x0 - last.x0)


def toward_x0(x: Tensor, x0: Tensor, now: Node, then: Node) -> Tensor:
    """Where the ODE leads if x0 stands still (Lu 2022b, eq. 9 of first order)."""
    h = then.half_log_snr - now.half_log_snr
    return then.sigma / now.sigma * x - then.alpha * math.expm1(-h) * x0


def renoised(x: Tensor, p: Prediction, now: Node) -> Tensor:
    """What a step starts from: x, or the x0 that was found with the noise that shall be on it (CFG++).

    One step of first order from there is alg. 2 of Chung 2024: alpha_s x0 + sigma_s eps of the null.
    """
    return x if p.renoise is None else now.alpha * p.x0 + now.sigma * p.renoise


def euler_step(predict: Predict, x: Tensor, now: Node, then: Node) -> Tensor:
    p = predict(x, now)
    if p.renoise is not None:
        return then.alpha * p.x0 + then.sigma * p.renoise
    return x + (then.alpha - now.alpha) * p.x0 + (then.sigma - now.sigma) * p.eps


def heun_step(predict: Predict, x: Tensor, now: Node, then: Node) -> Tensor:
    d_alpha, d_sigma = then.alpha - now.alpha, then.sigma - now.sigma
    p = predict(x, now)
    euler = x + d_alpha * p.x0 + d_sigma * p.eps
    if then.sigma == 0:  # no eps can be told from data alone
        return euler
    q = predict(euler, then)
    return x + d_alpha / 2 * (p.x0 + q.x0) + d_sigma / 2 * (p.eps + q.eps)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
