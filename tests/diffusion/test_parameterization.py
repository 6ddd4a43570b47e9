"""Laws of every target on every process."""

import pytest
import torch
from torch import nn
from toys import PAIRS, PARAMETERIZATIONS, PROCESSES, called, readable

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import (
    X0,
    Epsilon,
    Parameterization,
    Preconditioned,
    Prediction,
    V,
    Velocity,
)
from condiff.diffusion.process import CosineVP, Marginal, Process, RectifiedFlow, VarianceExploding

every_pair = pytest.mark.parametrize(("process", "parameterization"), PAIRS, ids=called)


def test_all_but_eps_at_zero_snr_can_be_read():
    assert len(PAIRS) == len(PROCESSES) * len(PARAMETERIZATIONS) - 2


@every_pair
def test_reading_a_target_gives_back_what_it_was_made_of(process, parameterization):
    t = process.clock(torch.linspace(0.05, 1, 9).double())
    x0, eps = torch.randn(2, 9, 3, 4, 4).double()
    x_t, m = process.perturb(x0, eps, t)
    p = parameterization.read(parameterization.target(x0, eps, m), x_t, m)
    torch.testing.assert_close(p.x0, x0, atol=1e-8, rtol=0)
    torch.testing.assert_close(p.eps, eps, atol=1e-8, rtol=0)


@every_pair
def test_what_is_read_makes_x_t_again(process, parameterization):
    m = process.at(process.clock(torch.linspace(0.05, 1, 9).double()))
    x_t, output = torch.randn(2, 9, 1, 2, 2).double()
    p = parameterization.read(output, x_t, m)
    torch.testing.assert_close(m.alpha * p.x0 + m.sigma * p.eps, x_t, atol=1e-9, rtol=1e-9)


def test_pairs_that_cannot_be_read_back_are_refused_when_built():
    class Blind(Parameterization):
        """Asks for x_t itself: says nothing new."""

        def weights(self, m: Marginal) -> tuple[torch.Tensor, torch.Tensor]:
            return m.alpha, m.sigma

    class Crossing(Parameterization):
        """Readable at both ends, but not on the way."""

        def weights(self, m: Marginal) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.ones_like(m.sigma), torch.ones_like(m.sigma)

    for process, parameterization in [
        (RectifiedFlow(), Epsilon()),
        (RectifiedFlow(3.0), Epsilon()),
        (CosineVP(), Blind()),
        (CosineVP(), Crossing()),
    ]:
        with pytest.raises(ValueError, match=r"cannot be read back on .* at t = "):
            NetworkDenoiser(nn.Identity(), process, parameterization)


def test_the_declared_pairs_are_the_refused_ones():
    for process in PROCESSES:
        for parameterization in PARAMETERIZATIONS:
            if readable(process, parameterization):
                NetworkDenoiser(nn.Identity(), process, parameterization)
            else:
                with pytest.raises(
                    ValueError, match="Epsilon cannot be read back on RectifiedFlow: at t = 1"
                ):
                    NetworkDenoiser(nn.Identity(), process, parameterization)


def test_velocity_of_a_flow_is_noise_minus_data_whatever_the_shift():
    x0, eps = torch.randn(2, 3, 1, 2, 2).double()
    for shift in (1.0, 3.0):
        m = RectifiedFlow(shift).at(torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64))
        torch.testing.assert_close(Velocity().target(x0, eps, m), eps - x0)


def test_v_is_alpha_eps_minus_sigma_x0():
    x0, eps = torch.randn(2, 2, 1, 2, 2).double()
    m = CosineVP().at(torch.tensor([0.3, 0.8], dtype=torch.float64))
    torch.testing.assert_close(V().target(x0, eps, m), m.alpha * eps - m.sigma * x0)


def test_preconditioning_is_that_of_edm():
    sigma, sd = torch.tensor([0.002, 0.5, 80.0], dtype=torch.float64).view(-1, 1, 1, 1), 0.5
    m = VarianceExploding().at(sigma.flatten())
    x0, eps = torch.randn(2, 3, 1, 2, 2).double()
    x_t = x0 + sigma * eps
    c_skip, c_out = sd**2 / (sigma**2 + sd**2), sigma * sd / (sigma**2 + sd**2).sqrt()
    edm = Preconditioned(sd)
    torch.testing.assert_close(edm.input_scale(m), 1 / (sigma**2 + sd**2).sqrt())
    torch.testing.assert_close(edm.target(x0, eps, m), (x0 - c_skip * x_t) / c_out, atol=1e-9, rtol=1e-6)
    output = torch.randn(3, 1, 2, 2).double()
    torch.testing.assert_close(edm.read(output, x_t, m).x0, c_skip * x_t + c_out * output)


@pytest.mark.parametrize("process", [CosineVP(), VarianceExploding(), RectifiedFlow()], ids=called)
def test_preconditioned_input_and_target_have_unit_variance(process: Process):
    edm, generator = Preconditioned(0.5), torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 9, 1, 300, 300, generator=generator).double()
    x_t, m = process.perturb(0.5 * x0, eps, process.clock(torch.linspace(0.1, 1, 9).double()))
    for unit in (edm.input_scale(m) * x_t, edm.target(0.5 * x0, eps, m)):
        torch.testing.assert_close(unit.flatten(1).var(1), torch.ones(9).double(), atol=0.02, rtol=0)


@every_pair
def test_targets_are_finite_at_the_smallest_trained_time(process, parameterization):
    t = process.training_time(torch.tensor([1e-16], dtype=torch.float64))
    x0, eps = torch.randn(2, 1, 1, 2, 2)
    x_t, m = process.perturb(x0, eps, t)
    assert parameterization.target(x0, eps, m).isfinite().all()
    assert (parameterization.input_scale(m) * x_t).isfinite().all()


@every_pair
def test_loss_is_the_squared_error_of_the_networks_own_target_per_image(process, parameterization):
    class Known(nn.Module):
        def forward(self, x: torch.Tensor, m: Marginal, cond: Condition) -> torch.Tensor:
            seen.append(x)
            return wanted + torch.tensor([0.0, 1.0, 2.0]).view(-1, 1, 1, 1)

    seen: list[torch.Tensor] = []
    t = process.clock(torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64))
    x0, eps = torch.randn(2, 3, 2, 4, 4).double()
    x_t, m = process.perturb(x0, eps, t)
    wanted = parameterization.target(x0, eps, m)
    loss, at = NetworkDenoiser(Known(), process, parameterization).loss(x0, eps, t, Condition())
    torch.testing.assert_close(loss, torch.tensor([0.0, 1.0, 4.0], dtype=torch.float64))
    assert torch.equal(at.sigma, m.sigma)
    torch.testing.assert_close(seen[0], parameterization.input_scale(m) * x_t)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_what_is_read_has_the_type_of_x_t_whatever_the_network_works_in(dtype):
    class Typed(nn.Module):
        def forward(self, x: torch.Tensor, m: Marginal, cond: Condition) -> torch.Tensor:
            return x.to(dtype)

    m = CosineVP().at(torch.full((2,), 0.5))
    p = NetworkDenoiser(Typed(), CosineVP(), X0())(torch.randn(2, 1, 2, 2), m, Condition())
    assert p.x0.dtype == p.eps.dtype == torch.float32


def test_weights_that_do_not_sum_to_one_are_refused():
    p = Prediction(torch.zeros(1), torch.zeros(1))
    with pytest.raises(ValueError, match=r"must sum to 1, got 1.5 from \[1.0, 0.5\]"):
        Prediction.affine((1.0, p), (0.5, p))


def test_affine_is_the_weighted_sum():
    a, b = (Prediction(*torch.randn(2, 2, 1, 1, 1)) for _ in range(2))
    p = Prediction.affine((3.0, a), (-2.0, b))
    torch.testing.assert_close(p.x0, 3 * a.x0 - 2 * b.x0)
    torch.testing.assert_close(p.eps, 3 * a.eps - 2 * b.eps)


def test_each_sample_keeps_the_variance_of_the_prediction_it_was_taken_from():
    one, other = (
        Prediction(*torch.randn(2, 2, 1, 1, 1), spread=torch.full((2, 1, 1, 1), v)) for v in (0.3, -0.9)
    )
    keep = torch.tensor([True, False]).view(2, 1, 1, 1)
    mixed = one.where(keep, other)
    assert mixed.spread is not None
    assert mixed.spread.flatten().tolist() == pytest.approx([0.3, -0.9])
    assert one.where(keep, Prediction(other.x0, other.eps)).spread is not None
    assert Prediction(one.x0, one.eps).where(keep, Prediction(other.x0, other.eps)).spread is None
