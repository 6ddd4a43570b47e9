"""Guided sampling against the two algorithms of Dhariwal & Nichol 2021, restated here in numpy.

The reference keeps to the letters of the paper and of Nichol 2021: betas, alpha_bar and their respaced kin,
in float64, with a network of noise whose x0 is kept in [-1, 1] and a classifier that is asked at x_t and the
step of the whole chain. Both sides see the same network, classifier and noise.
"""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from condiff.config.build import build
from condiff.diffusion.ancestral import Ancestral, AncestralLearned, AncestralSmall
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.grids import Leading, Linspace
from condiff.diffusion.guidance import Guidance, Models
from condiff.diffusion.parameterization import Epsilon
from condiff.diffusion.process import CosineDDPM, DiscreteVP, LinearDDPM
from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.samplers import DDIM
from tests.choices import choices

Array = NDArray[np.float64]
T, B, SHAPE, LABELS = 1000, 3, (2, 4, 4), torch.tensor([0, 2, 1])
WEIGHTS = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0)).double()


def noise_of(x: Tensor, n: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Any smooth network: the noise in x at step 0..T - 1, and where its variance is; label -1 is none."""
    told = 0.2 * (label + 1).view(-1, 1, 1, 1) * torch.cos(x)
    return torch.tanh(0.7 * x.roll(1, -1) + x - n / T) + told, torch.sin(3 * x + n / 100)


def log_p(x: Tensor, n: Tensor, label: Tensor) -> Tensor:
    """Any smooth classifier, [B]."""
    logits = torch.tanh((1 + n.view(-1, 1) / T) * (x[:, None] * WEIGHTS).flatten(2).sum(2))
    return logits.log_softmax(1).gather(1, label[:, None]).squeeze(1)


class Network(nn.Module):
    """``noise_of`` as condiff sees it."""

    def __init__(self, learned: bool) -> None:
        super().__init__()
        self.learned = learned

    def forward(self, x: Tensor, m, cond: Condition) -> Tensor:
        assert cond.label is not None
        eps, spread = noise_of(x, T * m.t - 1, cond.label)
        return torch.cat([eps, spread], 1) if self.learned else eps


def models(process: DiscreteVP, learned: bool) -> Models:
    def classifier(x: Tensor, m, cond: Condition) -> Tensor:
        assert cond.label is not None
        return log_p(x, T * m.t - 1, cond.label)

    return Models(NetworkDenoiser(Network(learned), process, Epsilon()), classifier=classifier)


def betas(process: DiscreteVP) -> Array:
    n = np.arange(T)
    if isinstance(process, LinearDDPM):
        return 1e-4 + (0.02 - 1e-4) * n / (T - 1)
    at = [np.cos((n + k) / T / 1.008 * np.pi / 2 + 0.008 / 1.008 * np.pi / 2) ** 2 for k in (0, 1)]
    return np.minimum(1 - at[1] / at[0], 0.999)


def respaced(kind: str) -> list[int]:
    """Which steps of the chain ADM's ``timestep_respacing`` keeps, from data to noise."""
    if kind.startswith("ddim"):
        count = int(kind[4:])
        stride = next(s for s in range(1, T) if len(range(0, T, s)) == count)
        return list(range(0, T, stride))
    count = int(kind)
    return [round(k * (T - 1) / (count - 1)) for k in range(count)]


@pytest.mark.parametrize(
    ("kind", "grid"),
    [
        ("250", Linspace()),
        ("100", Linspace()),
        ("25", Linspace()),
        ("ddim25", Leading(0)),
        ("ddim50", Leading(0)),
    ],
)
def test_the_grids_are_the_respacings_that_adm_names(kind, grid):
    steps = respaced(kind)
    ours = grid(LinearDDPM(), len(steps))
    assert (T * ours[:-1] - 1).round().int().tolist() == steps[::-1]
    assert ours[-1] == 0


@pytest.mark.parametrize(("name", "kind"), [("ancestral_adm", "250"), ("ddim_adm", "ddim25")])
def test_the_choices_called_adm_are_its_respacings(name, kind):
    sampler = build(choices("sampler")[name], "sampler")
    times = [
        node.marginal.t.flatten()[0].item()
        for node in sampler.nodes(LinearDDPM(), torch.zeros(1, 1, 1, 1).double())
    ]
    assert [round(T * t) - 1 for t in times[:-1]] == respaced(kind)[::-1]


def grad(x: Tensor, n: int, label: Tensor) -> Array:
    x = x.detach().requires_grad_()
    (found,) = torch.autograd.grad(log_p(x, torch.full((B, 1, 1, 1), float(n)).double(), label).sum(), x)
    return found.numpy()


def reference(
    process: DiscreteVP, kind: str, scale: float, drawn: Tensor, learned: bool, free: float | None = None
) -> Array:
    """Algorithm 1 (``drawn`` holds its noise) on the respaced chain, algorithm 2 for a respacing "ddim...".

    ``free`` is the scale of classifier-free guidance under it, with the label -1 as its null.
    """
    kept = respaced(kind)
    whole = np.cumprod(1 - betas(process))
    alpha_bar = whole[kept]
    before = np.append(1, alpha_bar[:-1])
    beta = 1 - alpha_bar / before
    small = beta * (1 - before) / (1 - alpha_bar)
    null, x = torch.full((B,), -1), drawn[0].numpy()
    for k in range(len(kept) - 1, -1, -1):
        step = torch.full((B, 1, 1, 1), float(kept[k])).double()
        eps, place = noise_of(torch.from_numpy(x), step, null if free is None else LABELS)
        if free is not None:
            eps = free * eps + (1 - free) * noise_of(torch.from_numpy(x), step, null)[0]
        x0 = (x - np.sqrt(1 - alpha_bar[k]) * eps.numpy()) / np.sqrt(alpha_bar[k])
        x0 = np.clip(x0, -1, 1)
        pull = scale * grad(torch.from_numpy(x), kept[k], LABELS)
        if kind.startswith("ddim"):
            eps = (x - np.sqrt(alpha_bar[k]) * x0) / np.sqrt(1 - alpha_bar[k])
            eps = eps - np.sqrt(1 - alpha_bar[k]) * pull
            x0 = (x - np.sqrt(1 - alpha_bar[k]) * eps) / np.sqrt(alpha_bar[k])
            x = np.sqrt(before[k]) * x0 + np.sqrt(1 - before[k]) * eps
            continue
        mean = (
            np.sqrt(before[k]) * beta[k] / (1 - alpha_bar[k]) * x0
            + np.sqrt(1 - beta[k]) * (1 - before[k]) / (1 - alpha_bar[k]) * x
        )
        if k == 0:  # the paper draws x_0 as well, with a variance of at most 1e-4; here it is the mean
            return mean
        v = (place.numpy() + 1) / 2
        variance = np.exp(v * np.log(beta[k]) + (1 - v) * np.log(small[k])) if learned else small[k]
        x = mean + variance * pull + np.sqrt(variance) * drawn[len(kept) - k].numpy()
    return x


class Drawn(SampleNoise):
    """The noise of the reference, in turn."""

    def __init__(self, drawn: Tensor) -> None:
        self.rest = iter(drawn)

    def normal(self, *shape: int) -> Tensor:
        return next(self.rest)


def sampled(
    process: DiscreteVP, rule: Guidance, sampler: Ancestral | DDIM, drawn: Tensor, learned: bool
) -> Array:
    cond = Condition(label=LABELS, null=Condition(label=torch.full((B,), -1)))
    rng = Drawn(drawn)
    return sampler(rule(models(process, learned)), rng.normal(), cond, rng).numpy()


def clipped(name: str, scale: float) -> Guidance:
    """The choice of conf/guidance with another scale."""
    node = choices("guidance")[name]
    node["scale"] = scale
    return build(node, "guidance")


every_chain = pytest.mark.parametrize("process", [LinearDDPM(), CosineDDPM()], ids=["linear", "cosine"])


@every_chain
@pytest.mark.parametrize("kind", ["25", "100"])
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("scale", [0.0, 1.0, 8.0])
def test_ancestral_sampling_is_algorithm_1(process, kind, learned, scale):
    steps = int(kind)
    drawn = torch.randn(steps + 1, B, *SHAPE, generator=torch.Generator().manual_seed(1)).double()
    made = AncestralLearned if learned else AncestralSmall
    rule = clipped("classifier_clipped", scale)
    ours = sampled(process, rule, made(steps, grid=Linspace()), drawn, learned)
    np.testing.assert_allclose(ours, reference(process, kind, scale, drawn, learned), rtol=1e-8, atol=1e-8)
    if scale:
        without = reference(process, kind, 0.0, drawn, learned)
        assert np.abs(ours - without).max() > 1e-3


@every_chain
@pytest.mark.parametrize("scale", [0.0, 1.0, 8.0])
def test_ddim_is_algorithm_2(process, scale):
    drawn = torch.randn(1, B, *SHAPE, generator=torch.Generator().manual_seed(1)).double()
    rule, grid = clipped("classifier_clipped_ddim", scale), Leading(0)
    ours = sampled(process, rule, DDIM(25, grid=grid), drawn, learned=False)
    np.testing.assert_allclose(ours, reference(process, "ddim25", scale, drawn, False), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("free", [1.0, 2.5])
def test_a_classifier_on_top_of_classifier_free_guidance_moves_what_that_has_said(free):
    """Both at once: the clipped, guided x0 makes the mean, and the gradient moves it."""
    drawn = torch.randn(26, B, *SHAPE, generator=torch.Generator().manual_seed(1)).double()
    node = choices("guidance")["classifier_clipped"]
    inner = {"_target_": "condiff.diffusion.guidance.ClassifierFree", "scale": free}
    node["inner"]["inner"] = inner
    node |= {"scale": 3.0, "base": "condition"}
    ours = sampled(LinearDDPM(), build(node, "guidance"), AncestralSmall(25, grid=Linspace()), drawn, False)
    theirs = reference(LinearDDPM(), "25", 3.0, drawn, False, free)
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8)
