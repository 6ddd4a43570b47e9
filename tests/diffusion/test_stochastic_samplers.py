"""The law of what the stochastic samplers draw, exact and without a random number.

The best denoiser of a Gaussian is linear, so a sample is a constant and the noises drawn on the way, each
times a number. The constant is the mean of the samples, the sum of the squares of the numbers their variance.
Each number is found by a walk in which that noise alone is one.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from choices import choices
from torch import Tensor
from toys import PROCESSES, called, gaussians, ideal, labelled

from condiff.config.build import build
from condiff.diffusion.ancestral import AncestralLarge, AncestralLearned, AncestralSmall
from condiff.diffusion.condition import Condition
from condiff.diffusion.grids import UniformLogSNR
from condiff.diffusion.multistep import DPMSolverPP2MSDE
from condiff.diffusion.parameterization import Prediction, V
from condiff.diffusion.process import Process
from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.samplers import DDIM, Sampler
from condiff.diffusion.stochastic import Churned, ChurnedHeun, FlowSDE

MEAN, STD, GRID = 0.8, 0.3, UniformLogSNR()
EDM = {"churn": 5.0, "s_min": 0.05, "grid": GRID}  # s_min: the last step to the data is not churned
CASES: dict[str, tuple[Callable[[int], Sampler], int]] = {
    "DDIM at eta 1": (lambda n: DDIM(n, 1.0, GRID), 1),
    "DDIM at eta 1/2": (lambda n: DDIM(n, 0.5, GRID), 1),
    "AncestralSmall": (lambda n: AncestralSmall(n, GRID), 1),
    "AncestralLarge": (lambda n: AncestralLarge(n, GRID), 1),
    "AncestralLearned": (lambda n: AncestralLearned(n, GRID), 1),
    "FlowSDE at 1/2": (lambda n: FlowSDE(n, 0.5, GRID), 1),
    "FlowSDE at 2": (lambda n: FlowSDE(n, 2.0, GRID), 1),
    "Churned": (lambda n: Churned(n, **EDM), 1),
    "ChurnedHeun": (lambda n: ChurnedHeun(n, **EDM), 2),
    "DPMSolverPP2MSDE": (lambda n: DPMSolverPP2MSDE(n, GRID), 2),
}


class OneAtATime(SampleNoise):
    """The k-th noise drawn is one in row k + 2 and zero in the others; rows 0 and 1 are without."""

    def __init__(self, rows: int) -> None:
        self.rows, self.next = rows, 2

    def normal(self, *shape: int) -> Tensor:
        noise = torch.zeros(self.rows, *shape, dtype=torch.float64)
        noise[self.next] = 1
        self.next += 1
        return noise


class Spread:
    """A Gaussian's best denoiser that also says how wide a step is, for AncestralLearned."""

    def __init__(self, process: Process) -> None:
        self.process, self.ideal = process, ideal(gaussians(MEAN, -0.5), process, V())

    def __call__(self, x_t: Tensor, m, cond: Condition) -> Prediction:
        return replace(self.ideal(x_t, m, cond), spread=torch.full_like(x_t, 0.3))


def law(sampler: Sampler, process: Process) -> tuple[float, float]:
    """Mean and variance of its samples, started from the data's own marginal at t_max."""
    rows = sampler.steps + 3
    m, unit = process.at(torch.tensor([process.t_max]).double()), process.prior(torch.ones(1).double())
    noise = (m.alpha * MEAN / unit).repeat(rows, 1, 1, 1)
    noise[1] += ((m.alpha**2 * STD**2 + m.sigma**2).sqrt() / unit).view(1, 1, 1)
    x = sampler(
        Spread(process), noise, labelled(gaussians(MEAN, -0.5), [0] * rows), OneAtATime(rows)
    ).flatten()
    return float(x[0]), float((x[1:] - x[0]).square().sum())


def variance_after_the_last_step(process: Process) -> float:
    """Of E[x0 | x_t] at the last time asked: what a walk without any error ends with."""
    m = process.at(GRID(process, 50)[-2:-1])
    signal = m.alpha**2 * STD**2
    return float(signal / (signal + m.sigma**2)) * STD**2


def test_every_stochastic_sampler_is_under_test():
    in_conf = [build(node, "sampler") for node in choices("sampler").values()]
    stochastic = {type(sampler) for sampler in in_conf if sampler.stochastic}
    assert len(stochastic) >= 8
    assert stochastic == {type(make(5)) for make, _ in CASES.values()}


@pytest.mark.parametrize("process", PROCESSES, ids=called)
@pytest.mark.parametrize("case", CASES)
def test_mean_and_variance_become_those_of_the_data_with_the_order_of_the_solver(case, process):
    make, order = CASES[case]
    exact, errors = variance_after_the_last_step(process), []
    for steps in (100, 200):
        mean, variance = law(make(steps), process)
        assert mean == pytest.approx(MEAN, abs=1e-8)
        errors.append(abs(variance / exact - 1))
    assert errors[1] < (0.1 if order == 1 else 0.002)
    assert order - 0.15 < math.log2(errors[0] / errors[1]) < order + 0.15


@pytest.mark.parametrize("process", PROCESSES, ids=called)
def test_the_two_bounds_of_an_ancestral_step_enclose_the_data(process):
    small, large = (law(kind(100, GRID), process)[1] for kind in (AncestralSmall, AncestralLarge))
    assert small < law(AncestralLearned(100, GRID), process)[1] < large
    assert small < variance_after_the_last_step(process) < large
