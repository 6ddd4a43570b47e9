"""Laws of every process."""

import math

import pytest
import torch
from diffusers.schedulers import DDPMScheduler
from toys import PROCESSES, called

from condiff.diffusion.process import (
    CosineDDPM,
    CosineVP,
    LinearDDPM,
    Process,
    RectifiedFlow,
    ScaledLinear,
    VarianceExploding,
)

every_process = pytest.mark.parametrize("process", PROCESSES, ids=called)


def times(process: Process, n: int = 41) -> torch.Tensor:
    """Times all over the range, none of them on a kink of a discrete schedule."""
    return process.t_max * (torch.arange(n).double() + 0.4137) / n


@every_process
def test_derivatives_are_derivatives(process):
    t = times(process)
    h = 1e-6 * process.t_max
    m, up, down = process.at(t), process.at(t + h), process.at(t - h)
    torch.testing.assert_close(m.d_alpha, (up.alpha - down.alpha) / (2 * h), atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(m.d_sigma, (up.sigma - down.sigma) / (2 * h), atol=1e-7, rtol=1e-6)


@every_process
def test_noise_level_never_falls_and_data_is_clean(process):
    m = process.at(
        torch.cat([torch.tensor([process.t_min, process.t_low], dtype=torch.float64), times(process)])
    )
    level = (m.sigma / m.alpha).flatten()
    assert level[0] == 0
    assert m.alpha[0] == 1
    assert (level.sort().values[2:] == level[2:]).all()


@every_process
def test_zero_snr_is_declared_where_it_is(process):
    m = process.at(torch.tensor([process.t_max], dtype=torch.float64))
    assert (m.alpha.item() == 0) == process.reaches_zero_snr


@every_process
def test_time_of_undoes_the_noise_level(process):
    t = times(process)
    m = process.at(t)
    torch.testing.assert_close(process.time_of((m.sigma / m.alpha).flatten()), t, atol=1e-10, rtol=1e-9)


@every_process
def test_clock_runs_from_data_to_noise(process):
    t = process.clock(torch.linspace(0, 1, 11).double())
    assert (t.diff() > 0).all()
    assert t[-1].item() == pytest.approx(process.t_max, rel=1e-12)
    assert t[0].item() == (process.t_low if isinstance(process, VarianceExploding) else process.t_min)


@every_process
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_marginals_are_computed_in_float64_and_given_in_the_type_of_t(process, dtype):
    t = times(process).to(dtype)
    m, exact = process.at(t), process.at(t.double())
    assert m.alpha.dtype == m.d_sigma.dtype == dtype
    assert m.alpha.shape == (len(t), 1, 1, 1)
    assert torch.equal(m.alpha, exact.alpha.to(dtype))
    assert torch.equal(m.sigma, exact.sigma.to(dtype))


@every_process
def test_x_t_is_alpha_x0_plus_sigma_eps(process):
    x0, eps = torch.randn(2, 41, 3, 2, 2)
    x_t, m = process.perturb(x0, eps, times(process))
    assert x_t.dtype == m.alpha.dtype == torch.float32
    exact = process.at(times(process))
    torch.testing.assert_close(x_t.double(), exact.alpha * x0 + exact.sigma * eps, atol=1e-5, rtol=1e-5)


@every_process
def test_prior_has_the_noise_of_t_max_or_is_the_chains(process):
    """p(x_T) = N(0, I) of a chain (Ho 2020, sec. 2), as Stable Diffusion's pipeline starts, too."""
    noise = torch.randn(2, 1, 2, 2)
    sigma = 1.0 if hasattr(process, "num_steps") else process.at(torch.tensor([process.t_max])).sigma
    torch.testing.assert_close(process.prior(noise), sigma * noise)


def test_angle_is_the_time_of_the_cosine_process_and_ends_at_one_without_signal():
    t = times(CosineVP())
    torch.testing.assert_close(CosineVP().at(t).angle.flatten(), t, atol=1e-12, rtol=0)
    assert RectifiedFlow().at(torch.tensor([1.0], dtype=torch.float64)).angle.item() == 1
    assert RectifiedFlow().at(torch.tensor([0.0], dtype=torch.float64)).angle.item() == 0


def test_cosine_start_has_a_log_snr_of_minus_12_9():
    assert CosineVP().at(torch.tensor([0.999], dtype=torch.float64)).log_snr.item() == pytest.approx(
        -12.9124, abs=1e-4
    )


@pytest.mark.parametrize("process", [LinearDDPM(), CosineDDPM(), ScaledLinear()], ids=called)
def test_discrete_schedule_is_exact_at_its_steps_and_log_linear_between(process):
    n = torch.tensor([1, 2, 500, 999, 1000])
    m = process.at(n.double() / 1000)
    torch.testing.assert_close(2 * m.alpha.log().flatten(), process.log_alpha_bar[n], atol=1e-12, rtol=1e-12)
    between = process.at(torch.tensor([0.5003], dtype=torch.float64))
    low, high = process.log_alpha_bar[500], process.log_alpha_bar[501]
    torch.testing.assert_close(
        2 * between.alpha.log().item(), (low + 0.3 * (high - low)).item(), atol=1e-12, rtol=0
    )


def test_the_cosine_chain_is_that_of_nichol_2021():
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    beta = -torch.expm1(CosineDDPM().log_alpha_bar.diff())
    torch.testing.assert_close(beta, scheduler.betas.double(), atol=1e-7, rtol=1e-5)  # theirs are float32
    assert beta[-1].item() == pytest.approx(0.999, abs=1e-12)
    n = torch.arange(1, 999).double()
    exact = (torch.cos((n / 1000 + 0.008) / 1.008 * math.pi / 2) / math.cos(0.008 / 1.008 * math.pi / 2)) ** 2
    torch.testing.assert_close(CosineDDPM().at(n / 1000).alpha.flatten() ** 2, exact, atol=1e-12, rtol=0)


def test_published_betas():
    # Ho 2020: alpha_bar at the end of the linear schedule, as often quoted
    assert LinearDDPM().log_alpha_bar[-1].exp().item() == pytest.approx(4.0358e-5, rel=1e-4)
    # latent diffusion: sqrt(alpha_bar) at the end, as in Lin 2023, table 1
    assert math.sqrt(ScaledLinear().log_alpha_bar[-1].exp().item()) == pytest.approx(0.068265, abs=1e-6)


@pytest.mark.parametrize("process", [LinearDDPM(), ScaledLinear(num_steps=10)], ids=called)
def test_discrete_schedule_is_trained_on_each_of_its_steps_alike(process):
    n = process.num_steps
    t = process.training_time((torch.arange(5 * n).double() + 0.5) / (5 * n))
    steps, counts = (t * n).round().unique(return_counts=True)
    assert steps.tolist() == list(range(1, n + 1))
    assert (counts == 5).all()


def test_shift_paces_time_and_leaves_the_lines_alone():
    u = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    torch.testing.assert_close(RectifiedFlow(3.0).clock(u), 3 * u / (1 + 2 * u))
    m = RectifiedFlow(3.0).at(u)
    assert (m.d_sigma - m.d_alpha == 2).all()
    torch.testing.assert_close(m.sigma.flatten(), u)


def test_tiles_repeat_the_whole_batch():
    m = CosineVP().at(torch.tensor([0.1, 0.2]))
    assert m.tile(2).t.flatten().tolist() == pytest.approx([0.1, 0.2, 0.1, 0.2])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: CosineVP(t_max=1.0), r"CosineVP.t_max must be in \(0, 1\), got 1"),
        (lambda: RectifiedFlow(shift=0), "RectifiedFlow.shift must be > 0, got 0"),
        (lambda: VarianceExploding(2.0, 1.0), "sigma_min must be below sigma_max, got 2 and 1"),
        (lambda: LinearDDPM(num_steps=0), "LinearDDPM.num_steps must be >= 1"),
    ],
)
def test_values_out_of_range_are_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
