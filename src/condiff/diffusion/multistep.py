"""Solvers of higher order in lambda = log(alpha / sigma), which remember the steps before.

At the ends of a flow lambda is infinite. Across such a step every solver is of first order.
"""

import math

from torch import Tensor

from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.samplers import Node, Past, Predict, Sampler, Seen, extrapolated, toward_x0


class DPMSolverPP2MSDE(Sampler):
    """SDE-DPM-Solver++(2M) (Lu 2022b, app. on the SDE): second order, noise added at every step."""

    @property
    def stochastic(self) -> bool:
        return True

    def step(
        self, predict: Predict, x: Tensor, now: Node, then: Node, past: Past, rng: SampleNoise | None
    ) -> Tensor:
        x0 = predict(x, now).x0
        h = then.half_log_snr - now.half_log_snr
        used = extrapolated(x0, now, then, past[-1] if past else None)
        past[:] = [Seen(now, x, x0)]
        x = then.sigma / now.sigma * math.exp(-h) * x - then.alpha * math.expm1(-2 * h) * used
        if rng is None or then.sigma == 0:
            return x
        return x + then.sigma * math.sqrt(-math.expm1(-2 * h)) * rng.normal(*x.shape[1:])


class DPMSolverPP2S(Sampler):
    """DPM-Solver++(2S) (Lu 2022b, alg. 1): every second step is taken again, from where the first began.

    A step is one network call, so two steps are one of the paper's. The last is of first order.
    """

    def step(
        self, predict: Predict, x: Tensor, now: Node, then: Node, past: Past, rng: SampleNoise | None
    ) -> Tensor:
        x0 = predict(x, now).x0
        first = past.pop() if past else None
        if first is None:
            past.append(Seen(now, x, x0))
            return toward_x0(x, x0, now, then)
        start = first.node
        h, inner = then.half_log_snr - start.half_log_snr, now.half_log_snr - start.half_log_snr
        if not h < math.inf:
            return toward_x0(x, x0, now, then)
        return toward_x0(first.x, first.x0 + h / (2 * inner) * (x0 - first.x0), start, then)


class UniPC(Sampler):
    """UniPC of second order with B(h) = e^h - 1 (Zhao 2023, alg. 5 to 8), one network call a step.

    Each call first corrects the step that led to it, then predicts the next.
    """

    def step(
        self, predict: Predict, x: Tensor, now: Node, then: Node, past: Past, rng: SampleNoise | None
    ) -> Tensor:
        x0 = predict(x, now).x0
        if past:
            x = self._corrected(x, x0, now, past)
        used = extrapolated(x0, now, then, past[-1] if past else None)
        past.append(Seen(now, x, x0))
        del past[:-3]
        return toward_x0(x, used, now, then)

    def _corrected(self, x: Tensor, x0: Tensor, now: Node, past: Past) -> Tensor:
        """x at ``now`` once more, with what the network has said of it: eq. 9 solved for two terms."""
        start = past[-1]
        h = now.half_log_snr - start.node.half_log_snr
        if not h < math.inf:
            return x
        one = math.expm1(-h)
        first = (one / -h - 1) / one
        second = 2 * ((one / -h - 1) / -h - 0.5) / one
        change = x0 - start.x0
        if len(past) == 1:
            return toward_x0(start.x, start.x0 + 0.5 * change, start.node, now)
        ratio = (past[-2].node.half_log_snr - start.node.half_log_snr) / h
        older = (first - second) / (1 - ratio) if ratio > -math.inf else 0.0
        slope = (past[-2].x0 - start.x0) / ratio
        return toward_x0(start.x, start.x0 + older * slope + (first - older) * change, start.node, now)
