"""The stochastic and multistep solvers agree with diffusers' schedulers to 1e-5, noise and all."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers.schedulers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from diffusers_loop import NOISE, Bounded, Recorded, assert_same, discrete, ours, theirs
from torch import Tensor

from condiff.diffusion.ancestral import AncestralLarge, AncestralLearned, AncestralSmall
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.grids import Grid, Karras, Leading, Linspace, ShiftedLevels, UniformTime
from condiff.diffusion.multistep import DPMSolverPP2MSDE, DPMSolverPP2S, UniPC
from condiff.diffusion.parameterization import Epsilon, V, Velocity
from condiff.diffusion.process import RectifiedFlow, ScaledLinear, VarianceExploding
from condiff.diffusion.samplers import DDIM, Euler, Heun
from condiff.diffusion.stochastic import Churned, ChurnedHeun, FlowSDE


@discrete
@pytest.mark.parametrize(
    ("kind", "solver"),
    [("fixed_small", AncestralSmall), ("fixed_large", AncestralLarge), ("learned_range", AncestralLearned)],
)
@pytest.mark.parametrize("steps", [10, 50])
def test_ancestral_sampling_has_the_mean_and_variance_of_ddpm(process, betas, kind, solver, steps):
    scheduler = DDPMScheduler(
        **betas,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        variance_type=kind,
    )
    scheduler.set_timesteps(steps)
    sampler, spread, seen = solver(steps), kind == "learned_range", []
    denoiser = NetworkDenoiser(Bounded(spread), process, V())
    denoiser.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    x = sampler(denoiser, NOISE, Condition(), Recorded())
    # theirs adds noise even in the step that ends in the data, unless it starts from the first of the chain
    assert_same(seen[-1], theirs(scheduler, sampler, process, noisy=True, spread=spread, stop=-1))
    m = sampler.nodes(process, NOISE)[-2].marginal
    assert_same(x, NetworkDenoiser(Bounded(spread), process, V())(seen[-1], m, Condition()).x0)


@discrete
@pytest.mark.parametrize("steps", [10, 50])
def test_the_least_variance_is_ddim_at_eta_one(process, betas, steps):
    torch.testing.assert_close(
        ours(AncestralSmall(steps), process, V()),
        ours(DDIM(steps, eta=1.0), process, V()),
        atol=1e-10,
        rtol=1e-10,
    )


@discrete
@pytest.mark.parametrize("steps", [5, 20])
def test_euler_ancestral_is_ddim_at_eta_one(process, betas, steps):
    scheduler = EulerAncestralDiscreteScheduler(**betas, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    sampler, generator = DDIM(steps, eta=1.0), Recorded().generator
    nodes = sampler.nodes(process, NOISE)
    x = (process.prior(NOISE) / nodes[0].alpha).double()
    for t, node in zip(scheduler.timesteps, nodes, strict=False):
        output = Bounded()(scheduler.scale_model_input(x, t), node.marginal, Condition())
        x = scheduler.step(output, t, x, generator=generator).prev_sample
    assert_same(ours(sampler, process, Epsilon()), x)


@discrete
@pytest.mark.parametrize("steps", [1, 2, 10, 20])
def test_dpm_solver_2m_sde(process, betas, steps):
    scheduler = DPMSolverMultistepScheduler(
        **betas, prediction_type="v_prediction", timestep_spacing="trailing", algorithm_type="sde-dpmsolver++"
    )
    scheduler.set_timesteps(steps)
    sampler, generator = DPMSolverPP2MSDE(steps), Recorded().generator
    x = process.prior(NOISE)
    for t, node in zip(scheduler.timesteps, sampler.nodes(process, NOISE), strict=False):
        noise = torch.randn(NOISE.shape, generator=generator, dtype=torch.float64)
        output = Bounded()(x, node.marginal, Condition())
        x = scheduler.step(output, t, x, variance_noise=noise).prev_sample
    assert_same(ours(sampler, process, V()), x)


@discrete
@pytest.mark.parametrize("steps", [1, 2, 3, 11, 20])
def test_dpm_solver_2s(process, betas, steps):
    scheduler = DPMSolverSinglestepScheduler(
        **betas, prediction_type="v_prediction", final_sigmas_type="zero"
    )
    scheduler.set_timesteps(steps)
    sampler = DPMSolverPP2S(steps)
    nodes = sampler.nodes(process, NOISE)
    scheduler.sigmas = torch.tensor([node.sigma / node.alpha for node in nodes]).double()
    assert_same(ours(sampler, process, V()), theirs(scheduler, sampler, process))


@discrete
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 20])
def test_unipc(process, betas, steps):
    scheduler = UniPCMultistepScheduler(
        **betas, prediction_type="v_prediction", timestep_spacing="trailing", final_sigmas_type="zero"
    )
    scheduler.set_timesteps(steps)
    sampler = UniPC(steps)
    nodes = sampler.nodes(process, NOISE)
    scheduler.sigmas = torch.tensor([node.sigma / node.alpha for node in nodes]).double()
    assert_same(ours(sampler, process, V()), theirs(scheduler, sampler, process))


@pytest.mark.parametrize("steps", [4, 12])
def test_a_flow_sde_without_bound_is_the_stochastic_sampler_of_diffusers(steps):
    process, sampler = RectifiedFlow(), FlowSDE(steps, strength=1e6)
    scheduler = FlowMatchEulerDiscreteScheduler(stochastic_sampling=True)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / steps, steps).tolist())
    rng = Recorded(torch.float32)  # as theirs draws
    x = sampler(NetworkDenoiser(Bounded(), process, Velocity()), NOISE, Condition(), rng)
    assert_same(x, theirs(scheduler, sampler, process, noisy=True))


@pytest.mark.parametrize("process", [RectifiedFlow(), ScaledLinear(), VarianceExploding()])
def test_a_flow_sde_is_ddim_at_its_two_known_strengths(process):
    for strength, eta in ((0.0, 0.0), (1.0, 1.0)):
        torch.testing.assert_close(
            ours(FlowSDE(12, strength), process, V()), ours(DDIM(12, eta), process, V()), atol=1e-9, rtol=1e-9
        )


@pytest.mark.parametrize("heun", [False, True])
@pytest.mark.parametrize("churn", [2.0, 40.0])
def test_churn_is_algorithm_2_of_edm(heun, churn):
    steps, s_min, s_max, s_noise = 12, 0.05, 50.0, 1.003
    process, target, rng = VarianceExploding(), Epsilon(), Recorded()
    denoiser = NetworkDenoiser(Bounded(), process, target)

    def d(x: Tensor, sigma: float) -> Tensor:
        m = process.at(torch.full((len(NOISE),), sigma, dtype=torch.float64))
        return (x - denoiser(x, m, Condition()).x0) / sigma

    levels = Karras()(process, steps).tolist()
    x = levels[0] * NOISE
    for now, then in pairwise(levels):
        gamma = min(churn / steps, math.sqrt(2) - 1) if s_min <= now <= s_max else 0.0
        hat = now + gamma * now
        if gamma:
            x = x + math.sqrt(hat**2 - now**2) * s_noise * rng.normal(3, 4, 4)
        slope = d(x, hat)
        euler = x + (then - hat) * slope
        x = x + (then - hat) * (slope + d(euler, then)) / 2 if heun and then else euler
    kind = ChurnedHeun if heun else Churned
    assert_same(ours(kind(steps, churn, s_min, s_max, s_noise, Karras()), process, target), x)


def test_without_churn_the_stochastic_samplers_are_euler_and_heun():
    process = ScaledLinear()
    for kind, plain in ((Churned, Euler), (ChurnedHeun, Heun)):
        assert torch.equal(ours(kind(8, 0.0), process, V()), ours(plain(8), process, V()))
        assert not torch.equal(ours(kind(8, 2.0), process, V()), ours(plain(8), process, V()))


@discrete
@pytest.mark.parametrize(
    ("spacing", "grid"), [("leading", Leading()), ("linspace", Linspace()), ("trailing", UniformTime())]
)
@pytest.mark.parametrize("steps", [2, 7, 10, 50])
def test_grids_of_discrete_schedules(process, betas, spacing, grid: Grid, steps):
    scheduler = DDIMScheduler(**betas, timestep_spacing=spacing, steps_offset=1)
    scheduler.set_timesteps(steps)
    n = grid(process, steps)[:-1] * 1000 - 1
    if spacing == "trailing":
        n = n.round()  # theirs are whole steps, ours stay even
    torch.testing.assert_close(n, scheduler.timesteps.double(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("steps", [1, 10, 28])
def test_the_shifted_grid_is_that_of_stable_diffusion_3(steps):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / steps, steps).tolist())
    assert_same(ShiftedLevels(3.0)(RectifiedFlow(), steps), scheduler.sigmas)
