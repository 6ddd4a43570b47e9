"""The bound of a whole chain, integrated numerically, where the best model has nothing to lose."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import called

from condiff.diffusion.process import CosineVP, LinearDDPM, Process, VarianceExploding
from condiff.diffusion.variational import VariationalBound, density


def at(process: Process, steps: Tensor, chain: int) -> Tensor:
    """Times after so many steps of a chain."""
    return process.clock(steps.flatten() / chain)


def integral_over_gaussians(steps: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gauss-Hermite nodes: the number of a step, x0 and eps, both standard normal, and weights, [B] each."""
    nodes, weights = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(6))
    weights = weights / weights.sum()
    n, x0, eps = torch.cartesian_prod(torch.arange(1.0, steps + 1).double(), nodes, nodes).unbind(1)
    _, a, b = torch.cartesian_prod(torch.ones(steps).double(), weights, weights).unbind(1)
    return n, x0, eps, a * b


@pytest.mark.parametrize("chain", [5, 60])
@pytest.mark.parametrize("process", [LinearDDPM(num_steps=60), CosineVP(), VarianceExploding()], ids=called)
def test_the_whole_bound_of_the_best_model_is_the_entropy_of_its_data_in_bits_per_dimension(process, chain):
    """For N(0, 1) every p(x_s | x_t) is a Gaussian of the largest variance: the bound has nothing to lose."""
    n, x0, eps, weight = (v.view(-1, 1, 1, 1) for v in integral_over_gaussians(chain))
    t, bound = at(process, n, chain), VariationalBound(1.0, chain, density)
    x_t, m = process.perturb(x0, eps, t)
    best = m.alpha / (m.alpha**2 + m.sigma**2) * x_t
    terms = bound.term(process, x0, best, torch.ones_like(x0), t)
    last = process.at(at(process, torch.tensor([chain]).double(), chain))
    size = (last.alpha**2 + last.sigma**2).sqrt()
    told = last.sigma / size  # of x_T given x0, in standard deviations of p(x_T); its mean has the variance:
    prior = (told**2 + (last.alpha / size) ** 2 - 1) / 2 - told.log()
    whole = (weight.flatten() * terms).sum() + prior.item() / math.log(2)
    torch.testing.assert_close(whole.item(), math.log2(2 * math.pi * math.e) / 2, rtol=1e-6, atol=0)
    least = bound.term(process, x0, best, -torch.ones_like(x0), t)
    assert (weight.flatten() * (least - terms)).sum() > 0.01  # a worse variance costs
    drawn = bound(process, x0, best, torch.ones_like(x0), t) / chain  # what one time of each sample estimates
    torch.testing.assert_close(drawn, terms)
