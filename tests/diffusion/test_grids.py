"""Laws of every grid."""

import pytest
import torch
from choices import choices
from diffusers.schedulers import FlowMatchEulerDiscreteScheduler
from toys import PROCESSES, called

from condiff.config.build import build
from condiff.diffusion.grids import (
    Grid,
    Karras,
    Leading,
    Linspace,
    ShiftedLevels,
    ToFirstStep,
    UniformLogSNR,
    UniformTime,
)
from condiff.diffusion.process import CosineVP, DiscreteVP, LinearDDPM, RectifiedFlow, VarianceExploding

GRIDS: list[Grid] = [
    UniformTime(),
    Karras(),
    UniformLogSNR(),
    ShiftedLevels(3.0),
    ToFirstStep(),
    Leading(),
    Leading(offset=30),
    Linspace(),
]
FITTING = [  # the last two need a process of discrete steps
    (process, grid)
    for process in PROCESSES
    for grid in GRIDS
    if isinstance(process, DiscreteVP) or not isinstance(grid, Leading | Linspace)
]
every_process = pytest.mark.parametrize("process", PROCESSES, ids=called)


def test_every_grid_is_under_test():
    kinds = {type(grid) for grid in GRIDS}
    assert kinds == set(Grid.__subclasses__())
    assert {type(build(node["grid"], "grid")) for node in choices("sampler").values()} <= kinds


@pytest.mark.parametrize(("process", "grid"), FITTING, ids=called)
@pytest.mark.parametrize("steps", [1, 2, 7, 50, 501, 1000])
def test_a_grid_falls_from_t_max_to_t_min(process, grid, steps):
    t = grid(process, steps)
    assert t.dtype == torch.float64
    assert t.shape == (steps + 1,)
    assert t[0] == process.t_max or isinstance(grid, Leading)  # which is known to miss it
    assert t[0] <= process.t_max
    assert t[-1] == process.t_min
    assert (t.diff() < 0).all()
    assert steps == 1 or t[-2] >= process.t_low * (1 - 1e-9)


@every_process
def test_a_shifted_grid_keeps_the_noisiest_level_and_divides_what_signal_is_gained(process):
    plain, shifted = (process.at(grid(process, 50)[:-1]) for grid in (UniformTime(), ShiftedLevels(3.0)))
    signal, less = plain.alpha / plain.sigma, shifted.alpha / shifted.sigma
    torch.testing.assert_close(3 * (less - signal[0]), signal - signal[0], atol=1e-9, rtol=1e-9)


def test_a_flow_walks_to_the_first_step_of_its_training_as_diffusers_does():
    theirs = FlowMatchEulerDiscreteScheduler(shift=3.0)
    theirs.set_timesteps(7)
    ours = ToFirstStep(1000)(RectifiedFlow(shift=3.0), 7)
    torch.testing.assert_close(ours, theirs.sigmas.double(), atol=1e-6, rtol=0)


def test_the_karras_grid_is_equation_5():
    i = torch.arange(10).double()
    expected = (80 ** (1 / 7) + i / 9 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    torch.testing.assert_close(
        Karras()(VarianceExploding(), 10), torch.cat([expected, torch.zeros(1).double()])
    )


def test_the_log_snr_grid_is_even_in_log_snr():
    for process in (CosineVP(), LinearDDPM(), VarianceExploding()):
        log_snr = process.at(UniformLogSNR()(process, 12)[:-1]).log_snr.flatten()
        assert (log_snr.diff() - log_snr.diff()[0]).abs().max() < 1e-8


def test_the_uniform_grid_of_a_discrete_schedule_has_trailing_spacing():
    n = UniformTime()(LinearDDPM(), 4) * 1000
    torch.testing.assert_close(n, torch.tensor([1000.0, 750, 500, 250, 0], dtype=torch.float64))


def test_the_uniform_grid_of_a_shifted_flow_is_shifted():
    u = torch.linspace(1, 0, 5, dtype=torch.float64)
    torch.testing.assert_close(UniformTime()(RectifiedFlow(3.0), 4), 3 * u / (1 + 2 * u))


def test_grids_of_a_chain_refuse_other_processes_and_more_steps_than_it_has():
    for grid in (Leading(), Linspace()):
        assert len(grid(LinearDDPM(), 10)) == 11
        with pytest.raises(ValueError, match="needs a process of discrete steps"):
            grid(CosineVP(), 10)
        with pytest.raises(ValueError, match=r"sampler.steps: must be at most the 6 steps .*, got 7"):
            grid(LinearDDPM(num_steps=6), 7)
