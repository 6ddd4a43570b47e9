"""The variational bound and the variance that it trains, against closed forms and diffusers."""

import math

import pytest
import torch
from diffusers.schedulers import DDPMScheduler
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from toys import PROCESSES, called

from condiff.diffusion.ancestral import Ancestral, AncestralLarge, AncestralLearned, AncestralSmall
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import Epsilon, Prediction, V
from condiff.diffusion.process import (
    CosineVP,
    LinearDDPM,
    Marginal,
    Process,
)
from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.transition import learned_log_variance
from condiff.diffusion.variational import VariationalBound, density, levels

every_process = pytest.mark.parametrize("process", PROCESSES, ids=called)
SPREADS = torch.tensor([-1.0, -0.4, 0.0, 0.7, 1.0], dtype=torch.float64)


def at(process: Process, *steps: float, chain: int = 1000) -> Tensor:
    """Times after so many steps of a chain."""
    return process.clock(torch.tensor(steps, dtype=torch.float64) / chain)


def log_variance(bound: VariationalBound, process: Process, spread: Tensor, t: Tensor) -> Tensor:
    _, q = bound.step(process, t)
    return learned_log_variance(spread, q.small.log(), q.large.log())


def reverse(now: Marginal, then: Marginal, std: float) -> tuple[Tensor, Tensor]:
    """The variance of p(x_s | x_t) for data N(0, std^2), and the share of x_s in x_t: Bayes' rule."""
    kept = now.alpha / then.alpha
    forward = now.sigma**2 - kept**2 * then.sigma**2
    precision = 1 / (then.alpha**2 * std**2 + then.sigma**2) + kept**2 / forward
    return 1 / precision, kept / forward


@every_process
@pytest.mark.parametrize("chain", [7, 1000])
def test_a_term_is_the_divergence_of_two_gaussians_in_bits_per_dimension(process, chain):
    steps = [chain, 0.8 * chain, 3.0, 2.25, 2.0]
    t, s = at(process, *steps, chain=chain), at(process, *(n - 1 for n in steps), chain=chain)
    x0, predicted, eps = torch.randn(3, 5, 2, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    spread = torch.linspace(-1.2, 1.2, 90, dtype=torch.float64).view_as(x0)
    now, then = process.at(t), process.at(s)
    x_t = now.alpha * x0 + now.sigma * eps
    small, share_of_x = reverse(now, then, 0.0)
    large, _ = reverse(now, then, 1.0)

    def mean(of: Tensor) -> Tensor:
        return small * (then.alpha / then.sigma**2 * of + share_of_x * x_t)

    std = large ** ((1 + spread) / 4) * small ** ((1 - spread) / 4)
    exact = kl_divergence(Normal(mean(x0), small.sqrt()), Normal(mean(predicted), std))
    term = VariationalBound(num_steps=chain).term(process, x0, predicted, spread, t)
    torch.testing.assert_close(term, exact.flatten(1).mean(1) / math.log(2), rtol=1e-6, atol=1e-12)


class Ones(SampleNoise):
    """A noise of one, so that a step shows its standard deviation."""

    def __init__(self) -> None: ...

    def normal(self, *shape: int) -> Tensor:
        return torch.ones(len(SPREADS), *shape, dtype=torch.float64)


@every_process
def test_the_variance_that_is_trained_is_the_one_that_is_sampled_with(process):
    spread, bound = SPREADS.view(-1, 1, 1, 1), VariationalBound(num_steps=50)
    x, p = (
        torch.zeros_like(spread),
        Prediction(torch.zeros_like(spread), torch.zeros_like(spread), spread=spread),
    )

    def taken(sampler: Ancestral, place: int) -> Tensor:
        now, then = sampler.nodes(process, x)[place : place + 2]
        noisy, mean = (sampler.step(lambda *_: p, x, now, then, [], rng) for rng in (Ones(), None))
        return (noisy - mean).square().log()

    for place in (0, 20, 48):  # of 50 steps; the last adds no noise
        learned = taken(AncestralLearned(50), place)
        t = at(process, 50 - place, chain=50).expand(5)
        torch.testing.assert_close(learned, log_variance(bound, process, spread, t), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(learned[0], taken(AncestralSmall(50), place)[0])
        torch.testing.assert_close(learned[-1], taken(AncestralLarge(50), place)[-1])
        torch.testing.assert_close(learned[2], (learned[0] + learned[-1]) / 2)


def test_the_log_variance_is_that_of_ddpm_at_every_step():
    process, bound = LinearDDPM(), VariationalBound()
    scheduler = DDPMScheduler(beta_schedule="linear", variance_type="learned_range")
    scheduler.alphas_cumprod = (1 - scheduler.betas.double()).cumprod(0)  # in float32 a beta has four digits
    places, spread = range(1, 1000), torch.linspace(-1, 1, 7, dtype=torch.float64)
    theirs = torch.stack([scheduler._get_variance(n, predicted_variance=spread) for n in places])
    ours = log_variance(bound, process, spread, at(process, *(n + 1 for n in places))).view(-1, 7)
    assert len(theirs) == 999
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    first = log_variance(bound, process, spread, at(process, 1)).flatten()
    # theirs puts no bound below the first, a sampler's last; ours is that of the second
    least, most = theirs[0, 0], scheduler._get_variance(0, predicted_variance=spread[-1])
    torch.testing.assert_close(first[[0, -1]], torch.stack([least, most]), atol=1e-5, rtol=0)


@every_process
@pytest.mark.parametrize("chain", [2, 1000])
def test_the_least_variance_of_the_step_to_the_data_is_that_of_the_second(process, chain):
    t = at(process, 1, 2, chain=chain)
    first, q = VariationalBound(num_steps=chain).step(process, t)
    assert first.tolist() == [True, False]
    assert q.small[0] == q.small[1] > 0
    at_1 = process.at(t[:1])
    size = at_1.alpha**2 + at_1.sigma**2
    torch.testing.assert_close(q.large[:1], at_1.sigma**2 / size)  # of x0 given x_1, for data N(0, 1)


@every_process
@pytest.mark.parametrize("likelihood", [levels, density])
def test_the_step_to_the_data_is_the_likelihood_of_x0_around_what_was_predicted(process, likelihood):
    bound = VariationalBound(likelihood=likelihood)
    t, x0 = at(process, 1), torch.arange(-1, 1.001, 2 / 255, dtype=torch.float64).view(1, 1, 16, 16)
    spread = torch.linspace(-1.2, 1.2, 256, dtype=torch.float64).view_as(x0).transpose(2, 3)
    predicted = x0 + 0.01 * spread
    exact = -likelihood(x0, predicted, log_variance(bound, process, spread, t)).mean() / math.log(2)
    for near in (t, process.clock(torch.full((1,), 1e-9).double()), at(process, 1.4)):
        torch.testing.assert_close(bound.term(process, x0, predicted, spread, near), exact.view(1))


def test_a_discrete_process_has_its_own_steps_and_needs_two():
    assert VariationalBound().steps(LinearDDPM(num_steps=30)) == 30
    assert VariationalBound(num_steps=10).steps(LinearDDPM(num_steps=30)) == 10
    assert VariationalBound().steps(CosineVP()) == 1000
    with pytest.raises(ValueError, match="num_steps must be >= 2"):
        VariationalBound().steps(LinearDDPM(num_steps=1))
    with pytest.raises(ValueError, match=r"VariationalBound.num_steps must be >= 2, got 1"):
        VariationalBound(num_steps=1)


@every_process
def test_the_gradient_reaches_the_variance_only(process):
    t = at(process, 1, 2, 500, 1000)
    x0, spread = torch.full((4, 1, 2, 2), 0.3).double(), torch.zeros(4, 1, 2, 2).double().requires_grad_()
    predicted = (x0 + 0.02).requires_grad_()
    VariationalBound().term(process, x0, predicted, spread, t).sum().backward()
    assert predicted.grad is None
    assert spread.grad is not None
    assert (spread.grad != 0).all()


@every_process
@pytest.mark.parametrize("likelihood", [levels, density])
def test_terms_and_gradients_are_finite_in_float32_at_every_time(process, likelihood):
    u = torch.tensor([1e-16, 1e-6, 1e-3, 1.5e-3, 1.501e-3, 2e-3, 0.1, 0.9, 1.0], dtype=torch.float64)
    x0 = torch.linspace(-1, 1, 9).expand(9, 1, 1, 9)
    for value in (-3.0, 0.0, 3.0):
        for predicted in (x0, x0 + 1e-3, 100 * x0.flip(-1)):
            spread = torch.full_like(x0, value).requires_grad_()
            term = VariationalBound(likelihood=likelihood).term(
                process, x0, predicted, spread, process.clock(u)
            )
            term.sum().backward()
            assert term.dtype == torch.float32
            assert term.isfinite().all()
            assert spread.grad is not None
            assert spread.grad.isfinite().all()


@pytest.mark.parametrize("mean", [-1.3, -1.0, 0.0, 0.123, 0.9999, 4.0])
@pytest.mark.parametrize("std", [1e-4, 1e-2, 0.3, 20.0])
def test_the_256_levels_have_all_the_mass(mean, std):
    pixels = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    around = torch.full_like(pixels, mean)
    log_p = levels(pixels, around, torch.full_like(pixels, 2 * math.log(std)))
    assert abs(log_p.exp().sum().item() - 1) < 1e-6
    normal, half = Normal(around, std), 1 / 255
    inside = (normal.cdf(pixels + half) - normal.cdf(pixels - half))[1:-1]
    torch.testing.assert_close(log_p.exp()[1:-1], inside, atol=1e-9, rtol=0)


def test_the_levels_of_a_mirrored_picture_are_mirrored_however_far_out():
    pixels = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    for std in (1e-3, 0.05, 1.0):
        mean, log_var = torch.full_like(pixels, 0.3), torch.full_like(pixels, 2 * math.log(std))
        torch.testing.assert_close(levels(pixels, mean, log_var), levels(-pixels, -mean, log_var))


def test_a_density_is_that_of_a_gaussian():
    x0, mean, log_var = torch.randn(3, 50).double()
    torch.testing.assert_close(density(x0, mean, log_var), Normal(mean, (log_var / 2).exp()).log_prob(x0))


class Answers(nn.Module):
    """The given output, whatever is asked."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = nn.Parameter(output)

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        return self.output


@pytest.mark.parametrize("process", [LinearDDPM(), LinearDDPM(num_steps=100), CosineVP()], ids=called)
@pytest.mark.parametrize("parameterization", [Epsilon(), V()], ids=called)
def test_a_loss_is_the_squared_error_and_a_thousandth_of_the_bound(process, parameterization):
    steps = getattr(process, "num_steps", 1000)
    t = at(process, 1, 2, 70, steps, chain=steps)
    x0, eps, target, spread = torch.randn(4, 4, 1, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    both = NetworkDenoiser(Answers(torch.cat([target, spread], 1)), process, parameterization)
    plain, _ = NetworkDenoiser(Answers(target), process, parameterization).loss(x0, eps, t, Condition())
    loss, _ = both.loss(x0, eps, t, Condition())
    x_t, m = process.perturb(x0, eps, t)
    p = both(x_t, m, Condition())
    term = VariationalBound().term(process, x0, p.x0, spread, t)
    torch.testing.assert_close(loss, plain + steps / 1000 * term)
    twice = NetworkDenoiser(
        Answers(torch.cat([target, spread], 1)), process, parameterization, VariationalBound(weight=0.002)
    )
    torch.testing.assert_close(twice.loss(x0, eps, t, Condition())[0], plain + steps / 500 * term)


def test_the_bound_does_not_change_what_the_target_learns():
    process, t = LinearDDPM(), at(LinearDDPM(), 1, 2, 500, 1000)
    x0, eps, target, spread = torch.randn(4, 4, 1, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    x0 = x0.clamp(-0.9, 0.9)
    plain, both = Answers(target), Answers(torch.cat([target, spread], 1))
    for network in (plain, both):
        NetworkDenoiser(network, process, Epsilon()).loss(x0, eps, t, Condition())[0].sum().backward()
    assert plain.output.grad is not None
    assert both.output.grad is not None
    torch.testing.assert_close(both.output.grad[:, :1], plain.output.grad, rtol=0, atol=0)
    assert (both.output.grad[:, 1:] != 0).all()


class Gaussian(nn.Module):
    """The best eps for data N(0, std^2), and a spread to learn for each step of a chain."""

    def __init__(self, std: float, steps: int) -> None:
        super().__init__()
        self.std, self.steps = std, steps
        self.spread = nn.Parameter(torch.zeros(steps))

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        eps = m.sigma / (m.alpha**2 * self.std**2 + m.sigma**2) * x
        place = (m.t.flatten() / CosineVP().t_max * self.steps).round().long() - 1
        return torch.cat([eps, self.spread[place].view(-1, 1, 1, 1).expand_as(x)], dim=1)


def test_a_learned_spread_finds_the_best_variance_of_a_gaussian():
    std, steps, process, rng = 0.5, 8, CosineVP(), torch.Generator().manual_seed(0)
    network = Gaussian(std, steps)
    bound = VariationalBound(weight=1.0, num_steps=steps, likelihood=density)
    denoiser = NetworkDenoiser(network, process, Epsilon(), bound)
    t = at(process, *range(1, steps + 1), chain=steps)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    for step in range(80):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 80)
        x0, eps = torch.randn(2, steps, 1, 64, 64, generator=rng)
        loss, _ = denoiser.loss(std * x0, eps, t, Condition())
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    now, then = process.at(t), process.at(at(process, *range(steps), chain=steps))
    best, _ = reverse(now, then, std)
    learned = log_variance(bound, process, network.spread.detach().double().view(-1, 1, 1, 1), t)
    start = log_variance(bound, process, torch.zeros(1).double(), t)
    assert (start - best.log()).abs().max() > 0.3
    torch.testing.assert_close(learned, best.log(), atol=0.05, rtol=0)
