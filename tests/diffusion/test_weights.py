"""Laws of loss weights: one weight on the error of x0, whatever the target."""

import pytest
import torch
from toys import PAIRS, PARAMETERIZATIONS, PROCESSES, called, readable

from condiff.diffusion.parameterization import X0, Epsilon, Preconditioned, V, Velocity
from condiff.diffusion.process import CosineVP, RectifiedFlow, VarianceExploding
from condiff.diffusion.weights import P2, MinSNR, Unit

T = torch.linspace(0.02, 0.99, 30).double()


def snr_of(m):
    return (m.alpha / m.sigma).square().flatten()


def test_min_snr_has_the_published_factors():
    m = CosineVP().at(T)
    snr = snr_of(m)
    cut = snr.clamp(max=5)
    assert (snr > 5).any()
    assert (snr < 5).any()
    torch.testing.assert_close(MinSNR()(m, X0()), cut)
    torch.testing.assert_close(MinSNR()(m, Epsilon()), cut / snr)
    torch.testing.assert_close(MinSNR()(m, V()), cut / (snr + 1))


def test_p2_has_the_published_factor_on_eps():
    m = CosineVP().at(T)
    torch.testing.assert_close(P2(k=2.0, gamma=0.5)(m, Epsilon()), (2 + snr_of(m)) ** -0.5)


@pytest.mark.parametrize("weighting", [MinSNR(), P2()], ids=called)
@pytest.mark.parametrize("process", PROCESSES, ids=called)
def test_a_weighted_loss_is_the_same_in_every_parameterization(weighting, process):
    m = process.at(process.clock(T))
    x_t, x0, wrong = torch.randn(3, len(T), 1, 3, 3).double()
    eps, wrong_eps = (x_t - m.alpha * x0) / m.sigma, (x_t - m.alpha * wrong) / m.sigma
    losses = []
    for p in PARAMETERIZATIONS:
        if readable(process, p):
            error = (p.target(wrong, wrong_eps, m) - p.target(x0, eps, m)).square().flatten(1).mean(1)
            losses.append(weighting(m, p) * error)
    assert len(losses) >= 4
    for loss in losses[1:]:
        torch.testing.assert_close(loss, losses[0], atol=1e-9, rtol=1e-7)


def test_without_signal_nothing_is_divided_by_zero():
    m = RectifiedFlow().at(torch.tensor([1.0], dtype=torch.float64))
    for weighting in (MinSNR(), P2()):
        for p in (V(), Velocity(), X0(), Preconditioned()):
            assert weighting(m, p).item() == 0


@pytest.mark.parametrize("weighting", [MinSNR(), P2(), Unit()], ids=called)
@pytest.mark.parametrize(("process", "parameterization"), PAIRS, ids=called)
def test_weights_are_finite_wherever_a_time_is_drawn(weighting, process, parameterization):
    m = process.at(process.training_time(torch.tensor([1e-9, 0.5, 1.0], dtype=torch.float64)).float())
    w = weighting(m, parameterization)
    assert w.shape == (3,)
    assert w.isfinite().all()
    assert (w >= 0).all()


def test_unit_weight_with_preconditioning_is_the_loss_of_edm():
    sigma, sd = torch.tensor([0.01, 0.5, 20.0], dtype=torch.float64), 0.5
    m = VarianceExploding().at(sigma)
    x0, eps = torch.randn(2, 3, 1, 2, 2).double()
    x_t, wrong = x0 + m.sigma * eps, torch.randn(3, 1, 2, 2).double()
    edm = Preconditioned(sd)
    output = edm.target(wrong, (x_t - wrong) / m.sigma, m)
    ours = Unit()(m, edm) * (output - edm.target(x0, eps, m)).square().flatten(1).mean(1)
    theirs = (sigma**2 + sd**2) / (sigma * sd) ** 2 * (wrong - x0).square().flatten(1).mean(1)
    torch.testing.assert_close(ours, theirs)
