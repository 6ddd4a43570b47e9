"""One network walked by our samplers and by diffusers' schedulers, with the same noise and the same times."""

import pytest
import torch
from diffusers.schedulers import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import Parameterization
from condiff.diffusion.process import LinearDDPM, Marginal, Process, ScaledLinear
from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.samplers import Sampler

SCHEDULES = [
    (LinearDDPM(), {"beta_schedule": "linear"}),
    (ScaledLinear(), {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}),
]
discrete = pytest.mark.parametrize(("process", "betas"), SCHEDULES, ids=["linear", "scaled_linear"])
NOISE = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Bounded(nn.Module):
    """Any smooth function of the image and of the noise in it; twice the channels where asked."""

    def __init__(self, spread: bool = False) -> None:
        super().__init__()
        self.spread = spread

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        out = torch.tanh(x.roll(1, -1) + 0.5 * x - m.angle) + 0.3 * m.angle
        return torch.cat([out, torch.sin(x)], 1) if self.spread else out


class Recorded(SampleNoise):
    """The numbers that diffusers draws."""

    def __init__(self, drawn_in: torch.dtype = torch.float64) -> None:
        self.generator, self.drawn_in = torch.Generator().manual_seed(5), drawn_in

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(len(NOISE), *shape, generator=self.generator, dtype=self.drawn_in).double()


def ours(sampler: Sampler, process: Process, target: Parameterization) -> Tensor:
    return sampler(NetworkDenoiser(Bounded(), process, target), NOISE, Condition(), Recorded())


def theirs(
    scheduler,
    sampler: Sampler,
    process: Process,
    calls: int = 1,
    noisy: bool = False,
    spread: bool = False,
    stop: int | None = None,
) -> Tensor:
    """diffusers' loop; the network is told the time by our nodes, one of ``calls`` calls a step."""
    nodes = sampler.nodes(process, NOISE)[:-1]
    if calls == 2:  # Heun also asks at the end of each step but the last
        nodes = [nodes[0], *(node for node in nodes[1:] for _ in range(2))]
    assert len(nodes) == len(scheduler.timesteps)
    x, more = process.prior(NOISE), {"generator": Recorded().generator} if noisy else {}
    for t, node in zip(scheduler.timesteps[:stop], nodes[:stop], strict=True):
        if not isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
            scheduler.scale_model_input(x, t)  # some count their steps here
        x = scheduler.step(Bounded(spread)(x, node.marginal, Condition()), t, x, **more).prev_sample
    return x


def assert_same(x: Tensor, y: Tensor) -> None:
    torch.testing.assert_close(x, y.double(), atol=1e-5, rtol=1e-5)
