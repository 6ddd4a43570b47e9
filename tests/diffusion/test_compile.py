"""A step with its guided denoiser is one graph to torch.compile, and gives the same x."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from choices import choices, some_by_default
from torch import Tensor, nn
from toys import labelled, mixture

from condiff.config.build import build
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import Denoiser, NetworkDenoiser, fresh
from condiff.diffusion.guidance import Guided, Models
from condiff.diffusion.parameterization import Prediction, V
from condiff.diffusion.process import LinearDDPM, RectifiedFlow
from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.samplers import DDIM, Sampler
from condiff.networks.unet import UNet

SAMPLERS, GUIDANCES = choices("sampler"), choices("guidance")
DATA = mixture(channels=2, size=4)
COND = labelled(DATA, [0, 1])
NOISE = torch.randn(4, 2, 2, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> Iterator[None]:
    torch.compiler.reset()
    with torch._dynamo.config.patch(trace_autograd_ops=True):  # for the gradient of a classifier
        yield


class Drawn(SampleNoise):
    """Noise drawn beforehand."""

    def __init__(self) -> None:
        self.left = list(NOISE[1:])

    def normal(self, *shape: int) -> Tensor:
        return self.left.pop()


class Two(nn.Module):
    """A network whose second half is for the variance."""

    def forward(self, x: Tensor, m, cond: Condition) -> Tensor:
        label = cond.label.view(-1, 1, 1, 1)
        return torch.cat([torch.tanh(x.roll(1, -1) - m.angle + 0.3 * label), x.tanh()], 1)

    def perturbed(self, layers: list[str]) -> nn.Module:
        return Two()


def assert_compiles(sampler: Sampler, denoiser: Denoiser, cond: Condition = COND, num: int = 3) -> None:
    """Some steps from the middle of a walk: a solver has no past at first, after three all that it keeps."""
    nodes = sampler.nodes(denoiser.process, NOISE[0])[1 : num + 2]

    def steps():
        ready, rng = fresh(denoiser), Drawn()

        def run(x: Tensor) -> Tensor:
            past = []
            for now, then in pairwise(nodes):
                x = sampler.step(lambda x, node: ready(x, node.marginal, cond), x, now, then, past, rng)
            return x

        return run

    with torch.no_grad():
        plain = steps()(NOISE[0])
        compiled = torch.compile(steps(), fullgraph=True, backend="eager")(NOISE[0])
    torch.testing.assert_close(compiled, plain, atol=1e-5, rtol=1e-5)


def built(name: str) -> Sampler:
    return build({**SAMPLERS[name], "steps": 6}, "sampler")


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_step_of_every_sampler_compiles(name):
    assert_compiles(built(name), NetworkDenoiser(Two(), LinearDDPM(), V()))


def guided(name: str, network: nn.Module) -> tuple[Sampler, Denoiser]:
    """A rule of conf/, and a sampler that can follow it."""
    rule = build(GUIDANCES[name], "guidance")
    process = RectifiedFlow() if getattr(rule, "needs_flow", False) else LinearDDPM()
    denoiser = NetworkDenoiser(network, process, V())
    models = Models(denoiser, DATA.log_classifier, NetworkDenoiser(Two(), process, V()))
    return built("ancestral" if getattr(rule, "asks", None) == "pull" else "ddim"), rule(models)


@pytest.mark.parametrize("name", some_by_default(GUIDANCES, "cfg", "pag", "classifier", "chain"))
def test_every_guided_denoiser_compiles_with_its_step(name):
    picture = torch.zeros(2, 1, 4, 4)
    cond = Condition(label=COND.label, concat=picture, null=Condition(label=COND.label + 1, concat=picture))
    assert_compiles(*guided(name, Two()), cond, num=2)  # the second with what a rule remembers


MORE = [pytest.param(name, marks=pytest.mark.slow) for name in ("cfg_interval", "cfg_rescale")]


@pytest.mark.parametrize("name", ["cfg", "apg", *MORE])
def test_guidance_compiles_around_a_u_net(name):
    torch.manual_seed(0)
    network = UNet(channels=2, size=4, num_labels=3, widths=[8, 16], attention=[False, True]).eval()
    assert_compiles(*guided(name, network), num=1)


def test_every_choice_is_under_test():
    assert len(SAMPLERS) >= 19
    assert len(GUIDANCES) >= 24


def test_a_step_that_asks_for_a_number_does_not_compile():
    def start(models: Models):
        def rule(x_t: Tensor, m, cond: Condition) -> Prediction:
            p = models.denoiser(x_t, m, cond)
            return p if p.x0.norm() < 1e3 else p.moved(x_t, x_t, m)

        return rule

    plain = NetworkDenoiser(Two(), LinearDDPM(), V())
    with pytest.raises(torch._dynamo.exc.Unsupported, match="branching"):
        assert_compiles(DDIM(6), Guided(Models(plain), start))
