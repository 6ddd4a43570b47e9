"""Schedules and solvers agree with diffusers' schedulers to 1e-5, over whole trajectories."""

import math

import pytest
import torch
from diffusers.schedulers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
)
from diffusers_loop import NOISE, Bounded, Recorded, assert_same, discrete, ours, theirs
from torch import Tensor

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.grids import Karras, UniformTime
from condiff.diffusion.parameterization import Epsilon, V, Velocity
from condiff.diffusion.process import CosineVP, RectifiedFlow, VarianceExploding
from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.samplers import DDIM, DPMSolverPP2M, Euler, Heun


@discrete
def test_schedules_are_the_published_ones(process, betas):
    n = torch.arange(1, 1001).double() / 1000
    assert_same(process.at(n).alpha.flatten() ** 2, DDPMScheduler(**betas).alphas_cumprod)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_grids_are_those_of_stable_diffusion_3(shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / 20, 20).tolist())
    assert_same(UniformTime()(RectifiedFlow(shift), 20), scheduler.sigmas)


@discrete
@pytest.mark.parametrize(("name", "target"), [("epsilon", Epsilon()), ("v_prediction", V())])
@pytest.mark.parametrize("steps", [1, 10, 50])
def test_ddim(process, betas, name, target, steps):
    scheduler = DDIMScheduler(**betas, prediction_type=name, timestep_spacing="trailing", clip_sample=False)
    scheduler.set_timesteps(steps)
    sampler = DDIM(steps)
    assert_same(ours(sampler, process, target), theirs(scheduler, sampler, process))


@discrete
@pytest.mark.parametrize("steps", [10, 50])
def test_ddim_at_eta_one_and_ddpm_have_the_same_mean_and_variance(process, betas, steps):
    scheduler = DDPMScheduler(
        **betas, prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=False
    )
    scheduler.set_timesteps(steps)

    sampler, generator = DDIM(steps, eta=1.0), Recorded().generator
    x = process.prior(NOISE)
    for t, node in zip(scheduler.timesteps, sampler.nodes(process, NOISE), strict=False):
        output = Bounded()(x, node.marginal, Condition())
        x = scheduler.step(output, t, x, generator=generator).prev_sample
    assert_same(ours(sampler, process, V()), x)


@discrete
def test_ddpm_over_all_steps_adds_the_posterior_variance(process, betas):
    scheduler = DDPMScheduler(**betas, variance_type="fixed_small")
    nodes = DDIM(1000, eta=1.0).nodes(process, NOISE)

    class Unit(SampleNoise):
        def __init__(self) -> None: ...

        def normal(self, *shape: int) -> Tensor:
            return torch.ones(len(NOISE), *shape, dtype=torch.float64)

    def still(x: Tensor, node: object) -> object:
        return NetworkDenoiser(Bounded(), process, V())(x, nodes[500].marginal, Condition())

    for i in (0, 1, 500, 998):  # from n = 1000 - i to the step below it
        quiet, noisy = (
            DDIM(1000, eta=eta).step(still, NOISE, nodes[i], nodes[i + 1], [], Unit()) for eta in (1e-9, 1.0)
        )
        p, then = still(NOISE, None), nodes[i + 1]
        variance = scheduler._get_variance(999 - i).item()
        mean = then.alpha * p.x0 + math.sqrt(then.sigma**2 - variance) * p.eps
        assert_same(quiet, then.alpha * p.x0 + then.sigma * p.eps)
        assert_same(noisy, mean + math.sqrt(variance))


@discrete
@pytest.mark.parametrize(("name", "target"), [("epsilon", Epsilon()), ("v_prediction", V())])
@pytest.mark.parametrize("steps", [1, 2, 10, 20])
def test_dpm_solver_2m(process, betas, name, target, steps):
    scheduler = DPMSolverMultistepScheduler(
        **betas,
        prediction_type=name,
        timestep_spacing="trailing",
        algorithm_type="dpmsolver++",
        solver_order=2,
    )
    scheduler.set_timesteps(steps)
    sampler = DPMSolverPP2M(steps)
    assert_same(ours(sampler, process, target), theirs(scheduler, sampler, process))


@pytest.mark.parametrize("steps", [3, 16])
def test_dpm_solver_2m_in_16_even_steps_of_the_cosine_process(steps):
    process, sampler = CosineVP(), DPMSolverPP2M(steps)
    scheduler = DPMSolverMultistepScheduler(prediction_type="v_prediction", timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    # theirs is told our noise levels; the last is 0
    scheduler.sigmas = torch.tensor(
        [node.sigma / node.alpha for node in sampler.nodes(process, NOISE)]
    ).double()
    assert scheduler.sigmas[-1] == 0
    assert_same(ours(sampler, process, V()), theirs(scheduler, sampler, process))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_dpm_solver_2m_on_a_flow(shift):
    process, sampler = RectifiedFlow(shift), DPMSolverPP2M(12)
    scheduler = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")
    scheduler.set_timesteps(12)
    scheduler.sigmas = torch.tensor([node.sigma for node in sampler.nodes(process, NOISE)]).double()
    assert_same(ours(sampler, process, Velocity()), theirs(scheduler, sampler, process))


@pytest.mark.parametrize(
    ("kind", "solver", "calls"), [(EulerDiscreteScheduler, Euler, 1), (HeunDiscreteScheduler, Heun, 2)]
)
@pytest.mark.parametrize("steps", [2, 12])
def test_euler_and_heun_on_the_karras_grid(kind, solver, calls, steps):
    scheduler = kind(
        use_karras_sigmas=True, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )
    scheduler.set_timesteps(steps)
    high, low = scheduler.sigmas[0].item(), scheduler.sigmas[-2].item()
    process, sampler = VarianceExploding(low, high), solver(steps, grid=Karras())
    assert_same(sampler.grid(process, steps)[[0, -2, -1]], scheduler.sigmas[[0, -2, -1]])
    assert_same(sampler.grid(process, steps), scheduler.sigmas.unique().flip(0))
    assert_same(ours(sampler, process, Epsilon()), theirs(scheduler, sampler, process, calls))


@discrete
def test_euler_of_a_variance_preserving_model_is_theirs_in_the_scaled_space(process, betas):
    scheduler = EulerDiscreteScheduler(**betas, timestep_spacing="trailing")
    scheduler.set_timesteps(20)
    sampler = Euler(20)
    nodes = sampler.nodes(process, NOISE)
    x = process.prior(NOISE) / nodes[0].alpha
    for t, node in zip(scheduler.timesteps, nodes, strict=False):
        x_t = scheduler.scale_model_input(x, t)
        x = scheduler.step(Bounded()(x_t, node.marginal, Condition()), t, x).prev_sample
    assert_same(ours(sampler, process, Epsilon()), x)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 4, 25])
def test_euler_on_a_flow(shift, steps):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / steps, steps).tolist())
    process, sampler = RectifiedFlow(shift), Euler(steps)
    assert_same(ours(sampler, process, Velocity()), theirs(scheduler, sampler, process))
