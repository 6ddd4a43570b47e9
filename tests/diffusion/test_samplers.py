"""Laws of every sampler, on data whose flow is a formula."""

import math

import pytest
import torch
from toys import PROCESSES, called, gaussians, ideal, labelled, mixture

from condiff.diffusion.ancestral import AncestralLarge, AncestralSmall
from condiff.diffusion.condition import Condition
from condiff.diffusion.grids import Grid, Karras, UniformLogSNR, UniformTime
from condiff.diffusion.multistep import DPMSolverPP2MSDE, DPMSolverPP2S, UniPC
from condiff.diffusion.parameterization import Prediction, V
from condiff.diffusion.process import CosineVP, LinearDDPM, Process, VarianceExploding
from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.samplers import DDIM, DPMSolverPP2M, Euler, Heun, Sampler
from condiff.diffusion.stochastic import Churned, ChurnedHeun, FlowSDE

GRIDS: list[Grid] = [UniformTime(), Karras(), UniformLogSNR()]
every_process = pytest.mark.parametrize("process", PROCESSES, ids=called)
every_grid = pytest.mark.parametrize("grid", GRIDS, ids=called)
SOLVERS = [DDIM, Euler, Heun, DPMSolverPP2M, DPMSolverPP2S, UniPC]
every_solver = pytest.mark.parametrize("solver", SOLVERS)


def best_grid(process: Process) -> Grid:
    return Karras() if isinstance(process, VarianceExploding) else UniformTime()


def flow_of_a_gaussian(process: Process, noise: torch.Tensor, last: torch.Tensor, mean: float, std: float):
    """Noise taken by the probability-flow ODE of N(mean, std^2) to the time ``last``, and denoised there."""
    start, end = (process.at(t.view(1)) for t in (torch.tensor(process.t_max, dtype=torch.float64), last))
    spread, left = ((m.alpha**2 * std**2 + m.sigma**2).sqrt() for m in (start, end))
    return mean + end.alpha * std**2 / left * (process.prior(noise) - start.alpha * mean) / spread


@every_process
@pytest.mark.parametrize(
    ("solver", "order", "most"),
    [
        (DDIM, 1, 0.05),
        (Euler, 1, 0.05),
        (Heun, 2, 0.005),
        (DPMSolverPP2M, 2, 0.005),
        (DPMSolverPP2S, 2, 0.01),  # its steps are twice as long
        (UniPC, 3, 0.001),  # its corrector adds one to the order (Zhao 2023, on UniC)
    ],
)
def test_deterministic_samplers_follow_the_flow_with_their_order(process, solver, order, most):
    data, grid = gaussians(0.8, -0.5), UniformLogSNR()
    noise = torch.linspace(-2, 2, 9).double().view(-1, 1, 1, 1)
    cond, denoiser = labelled(data, [0] * 9), ideal(data, process, V())
    exact = flow_of_a_gaussian(process, noise, grid(process, 50)[-2], 0.8, 0.3)
    errors = [(solver(n, grid=grid)(denoiser, noise, cond) - exact).abs().max().item() for n in (50, 100)]
    assert errors[0] < most
    assert order - 0.1 < math.log2(errors[0] / errors[1]) < order + 0.2


class OneGenerator(SampleNoise):
    """All samples from one generator: quick where nobody asks which sample is which."""

    def __init__(self, n: int) -> None:
        self.n, self.generator = n, torch.Generator().manual_seed(0)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(self.n, *shape, generator=self.generator, dtype=torch.float64)


@every_process
@pytest.mark.parametrize(
    "sampler",
    [
        *(DDIM(100), DDIM(200, eta=1.0), DDIM(200, eta=0.5), Euler(200), Heun(50), DPMSolverPP2M(50)),
        *(DPMSolverPP2S(100), UniPC(50), DPMSolverPP2MSDE(100), AncestralSmall(200), AncestralLarge(200)),
        *(FlowSDE(200), Churned(200, churn=10.0), ChurnedHeun(50, churn=10.0)),
    ],
    ids=called,
)
def test_samplers_draw_from_the_data_distribution(process, sampler: Sampler):
    data, n = mixture(), 3000
    sampler = type(sampler)(**{**vars(sampler), "grid": best_grid(process)})
    rng = OneGenerator(n)
    cond = labelled(data, [1] * n)
    x = sampler(ideal(data, process, V()), rng.normal(1, 1, 1), cond, rng).flatten().sort().values
    truth = data.draw(n, 1, torch.Generator().manual_seed(4)).flatten().sort().values
    assert (x - truth).abs().mean() < 0.07  # the earth mover's distance


@every_process
@every_solver
@every_grid
@pytest.mark.parametrize("steps", [1, 2, 3, 16])
def test_any_number_of_steps_ends_in_finite_data(process, solver, grid, steps):
    data = gaussians(1.0, -1.0, std=0.05)
    noise = SampleNoise(0, range(8)).normal(1, 1, 1)
    x = solver(steps, grid=grid)(ideal(data, process, V()), noise, labelled(data, [0, 1] * 4))
    assert x.dtype == torch.float32
    assert x.isfinite().all()
    if steps > 3:  # Heun overshoots when two steps span the whole range
        assert (x.flatten() - torch.tensor([1.0, -1.0] * 4)).abs().max() < 0.3


@every_process
@every_solver
def test_one_step_is_the_denoisers_first_answer(process, solver):
    data = mixture()
    noise, cond = torch.randn(4, 1, 1, 1).double(), labelled(data, [0, 1, 0, 1])
    denoiser = ideal(data, process, V())
    m = process.at(torch.full((4,), process.t_max, dtype=torch.float64))
    answer = denoiser(process.prior(noise), m, cond).x0
    torch.testing.assert_close(solver(1)(denoiser, noise, cond), answer, atol=1e-9, rtol=1e-9)


@every_process
def test_euler_is_ddim_without_noise(process):
    data = mixture(1, 2)
    noise, cond = torch.randn(4, 1, 2, 2).double(), labelled(data, [0, 1, 0, 1])
    denoiser = ideal(data, process, V())
    x, same = (solver(9)(denoiser, noise, cond) for solver in (Euler, DDIM))
    torch.testing.assert_close(x, same, atol=1e-10, rtol=1e-10)


def test_dpm_solver_in_16_even_steps_from_999_ends_in_the_last_x0():
    data, process = mixture(2, 2), CosineVP()
    assert (process.t_min, process.t_max) == (0, 0.999)
    answers: list[Prediction] = []
    denoiser = ideal(data, process, V())
    keep = denoiser.register_forward_hook(lambda module, given, answer: answers.append(answer))
    noise = SampleNoise(0, range(6)).normal(2, 2, 2)
    x = DPMSolverPP2M(16)(denoiser, noise, labelled(data, [0, 1] * 3))
    keep.remove()
    assert x.isfinite().all()
    assert len(answers) == 16
    torch.testing.assert_close(x, answers[-1].x0)


@every_process
@every_solver
def test_a_sample_does_not_depend_on_its_batch(process, solver):
    data = mixture(1, 2)
    cond = labelled(data, [0, 1, 1, 0])
    denoiser = ideal(data, process, V())
    sampler = solver(6)

    def run(index: list[int]) -> torch.Tensor:
        rng = SampleNoise(7, index, dtype=torch.float64)
        return sampler(denoiser, rng.normal(1, 2, 2), cond[torch.tensor(index)], rng)

    torch.testing.assert_close(
        torch.cat([run([0]), run([2, 3]), run([1])]), run([0, 2, 3, 1]), atol=1e-12, rtol=0
    )


def test_a_stochastic_sample_does_not_depend_on_its_batch():
    data = mixture(1, 2)
    denoiser, sampler, cond = ideal(data, CosineVP(), V()), DDIM(6, eta=1.0), labelled(data, [0, 1, 1, 0])

    def run(index: list[int]) -> torch.Tensor:
        rng = SampleNoise(7, index, dtype=torch.float64)
        return sampler(denoiser, rng.normal(1, 2, 2), cond[torch.tensor(index)], rng)

    whole = run([0, 1, 2, 3])
    torch.testing.assert_close(torch.cat([run([0, 1]), run([2]), run([3])]), whole, atol=1e-12, rtol=0)
    assert not torch.allclose(
        whole, DDIM(6)(denoiser, SampleNoise(7, range(4)).normal(1, 2, 2).double(), cond)
    )


def test_a_stochastic_sampler_without_rng_is_refused():
    data = mixture()
    assert DDIM(4, eta=0.5).stochastic
    assert not DDIM(4).stochastic
    with pytest.raises(ValueError, match="DDIM adds noise on the way"):
        DDIM(4, eta=0.5)(
            ideal(data, CosineVP(), V()), torch.randn(2, 1, 1, 1).double(), labelled(data, [0, 1])
        )


def test_more_steps_than_a_discrete_schedule_has_are_refused():
    data, process = mixture(), LinearDDPM(num_steps=10)
    noise, cond = torch.randn(2, 1, 1, 1).double(), labelled(data, [0, 1])
    assert DDIM(10)(ideal(data, process, V()), noise, cond).isfinite().all()
    with pytest.raises(ValueError, match=r"DDIM.steps = 11 is too many for LinearDDPM"):
        DDIM(11)(ideal(data, process, V()), noise, cond)


def test_no_steps_are_refused():
    for solver in SOLVERS:
        with pytest.raises(ValueError, match="steps must be >= 1, got 0"):
            solver(0)


def test_the_watcher_is_told_of_every_step():
    data, told = mixture(), []
    noise, cond = torch.randn(2, 1, 1, 1).double(), labelled(data, [0, 1])
    Euler(5)(ideal(data, CosineVP(), V()), noise, cond, watch=told.append)
    assert told == [1, 2, 3, 4, 5]


@every_process
def test_every_call_has_the_marginals_of_its_time_and_a_level_on_the_host(process):
    class Watching:
        def __init__(self) -> None:
            self.process, self.seen = process, []

        def __call__(self, x_t: torch.Tensor, m, cond: Condition) -> Prediction:
            self.seen.append(m)
            return Prediction(x_t, x_t)

    denoiser = Watching()
    Heun(5)(denoiser, torch.randn(3, 1, 2, 2), Condition())
    assert len(denoiser.seen) == 9
    for m in denoiser.seen:
        exact = process.at(m.t.flatten().double())
        assert m.alpha.shape == (3, 1, 1, 1)
        torch.testing.assert_close(m.alpha, exact.alpha.float(), atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(m.sigma, exact.sigma.float(), atol=1e-6, rtol=1e-4)
        assert isinstance(m.level, float)
        expected = (m.sigma / m.alpha)[0].item()
        assert m.level == pytest.approx(expected, rel=1e-5) or m.level == expected == math.inf


def test_sampling_builds_no_graph_and_touches_no_global_randomness():
    data = mixture()
    state = torch.get_rng_state()
    noise = SampleNoise(0, [0, 1]).normal(1, 1, 1).double().requires_grad_()
    x = DDIM(3, eta=1.0)(ideal(data, CosineVP(), V()), noise, labelled(data, [0, 1]), SampleNoise(1, [0, 1]))
    assert not x.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
