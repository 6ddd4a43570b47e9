"""What a guidance tells its models, and what it does with their answers: where projects have erred."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from toys import PARAMETERIZATIONS, PROCESSES, called, ideal, labelled, mixture, readable

from condiff.diffusion.ancestral import AncestralLarge, AncestralLearned, AncestralSmall
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.grids import Grid, Leading, Linspace, UniformTime
from condiff.diffusion.guidance import Chain, ClassifierFree, Guidance, Models, NoGuidance
from condiff.diffusion.guidance.classifier import Classifier, ClassifierMean, gradient
from condiff.diffusion.guidance.conditions import Composition, Negative
from condiff.diffusion.guidance.corrections import DynamicThreshold, Rescale
from condiff.diffusion.guidance.plusplus import ClassifierFreePlusPlus
from condiff.diffusion.guidance.projected import AdaptiveProjected
from condiff.diffusion.guidance.references import AutoGuidance
from condiff.diffusion.guidance.schedules import Linear, ScheduledScale
from condiff.diffusion.guidance.zero_star import ClassifierFreeZeroStar
from condiff.diffusion.parameterization import Prediction, V
from condiff.diffusion.process import CosineVP, LinearDDPM, Process, RectifiedFlow
from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.samplers import DDIM, Node, Sampler

DATA = mixture(channels=4, size=2)
B, LABELS = 4, [0, 1, 1, 0]
every_process = pytest.mark.parametrize("process", PROCESSES, ids=called)


def exactly(x: Tensor, y: Tensor) -> None:
    torch.testing.assert_close(x, y, atol=1e-9, rtol=1e-9)


def setting(process: Process):
    """x_t, its marginals at random times, and labels."""
    g = torch.Generator().manual_seed(0)
    m = process.at(process.clock(0.1 + 0.8 * torch.rand(B, generator=g, dtype=torch.float64)))
    x0 = DATA.draw(B, DATA.num_classes, g)
    x_t = m.alpha * x0 + m.sigma * torch.randn(x0.shape, generator=g, dtype=torch.float64)
    return x_t, m, labelled(DATA, LABELS)


def models(process: Process) -> Models:
    weak = ideal(replace(DATA, stds=2 * DATA.stds), process, V())
    return Models(ideal(DATA, process, V()), classifier=DATA.log_classifier, weaker=weak)


STEPS = {  # of a chain of 1,000, from the noisiest down
    UniformTime(): [1000, 800, 600, 400, 200],
    Leading(): [802, 602, 402, 202, 2],
    Linspace(): [1000, 750, 501, 251, 1],  # places 999, 749, 500, 250 and 0
}


@pytest.mark.parametrize("grid", STEPS, ids=called)
@pytest.mark.parametrize("rule", [Classifier(2.0), ClassifierMean(2.0)], ids=called)
def test_fewer_steps_tell_network_and_classifier_the_steps_of_the_whole_chain(grid: Grid, rule):
    told: dict[str, list[float]] = {"network": [], "classifier": []}

    class Network(nn.Module):
        def forward(self, x: Tensor, m, cond: Condition) -> Tensor:
            told["network"] += (1000 * m.t.flatten()).tolist()
            return x

    def log_p(x: Tensor, m, cond: Condition) -> Tensor:
        told["classifier"] += (1000 * m.t.flatten()).tolist()
        exact = LinearDDPM().at(m.t.flatten())
        exactly(m.sigma, exact.sigma)
        return x.flatten(1).sum(1)

    denoiser = rule(Models(NetworkDenoiser(Network(), LinearDDPM(), V()), classifier=log_p))
    kind = AncestralSmall if isinstance(rule, ClassifierMean) else DDIM
    rng = SampleNoise(0, [0], dtype=torch.float64)
    kind(5, grid=grid)(denoiser, torch.zeros(1, 1, 1, 1).double(), Condition(), rng)
    assert told["network"] == pytest.approx(STEPS[grid])
    last = -1 if isinstance(rule, ClassifierMean) else None  # a step without variance moves no mean
    assert told["classifier"] == pytest.approx(STEPS[grid][:last])


def test_a_ddim_step_with_a_classifier_is_that_of_the_moved_noise_and_the_x0_that_goes_with_it():
    process, (x_t, _, cond) = CosineVP(), setting(CosineVP())
    given, sampler = models(process), DDIM(10)
    now, then = sampler.nodes(process, x_t)[4:6]
    denoiser = Classifier(3.0)(given)
    x = sampler.step(lambda x, node: denoiser(x, node.marginal, cond), x_t, now, then, [], None)
    free = given.denoiser(x_t, now.marginal, cond.without())
    eps = free.eps - 3.0 * now.sigma * gradient(DATA.log_classifier, x_t, now.marginal, cond)
    x0 = (x_t - now.sigma * eps) / now.alpha  # not that of free
    exactly(x, then.alpha * x0 + then.sigma * eps)
    assert not torch.allclose(x, then.alpha * free.x0 + then.sigma * eps)


@pytest.mark.parametrize("works_in", [torch.bfloat16, torch.float64])
def test_a_gradient_has_the_type_of_the_marginals_whatever_the_classifier_works_in(works_in):
    m, x = CosineVP().at(torch.full((2,), 0.5)), torch.ones(2, 1, 2, 2)
    found = gradient(lambda x, m, cond: 3 * x.to(works_in).flatten(1).sum(1), x, m, Condition())
    assert found.dtype == torch.float32
    exactly(found, torch.full_like(x, 3.0))


def test_a_mean_moves_by_the_variance_that_the_network_has_learned():
    process, (x_t, _, cond) = LinearDDPM(), setting(LinearDDPM())
    spread = torch.linspace(-1, 1, x_t.numel()).double().view_as(x_t)
    now, then = DDIM(10).nodes(process, x_t)[4:6]

    def step(kind: Sampler, scale: float) -> Tensor:
        denoiser, rng = ClassifierMean(scale)(models(process)), SampleNoise(0, range(B), dtype=torch.float64)

        def predict(x: Tensor, node: Node) -> Prediction:
            return replace(denoiser(x, node.marginal, cond), spread=spread)

        return kind.step(predict, x_t, now, then, [], rng)

    kinds = (AncestralSmall(10), AncestralLarge(10), AncestralLearned(10))
    least, most, moved = (step(kind, 2.0) - step(kind, 0.0) for kind in kinds)
    small = (then.sigma / now.sigma) ** 2 * (now.sigma**2 - (now.alpha / then.alpha * then.sigma) ** 2)
    exactly(least, 2 * small * gradient(DATA.log_classifier, x_t, now.marginal, cond))
    exactly(moved, least * (most / least) ** ((spread + 1) / 2))  # between the two in their logarithms


RULES: list[Guidance] = [
    ClassifierFree(3.0),
    Negative(3.0, label=0),
    Composition([1.0], [0]),
    Classifier(3.0),
    ScheduledScale(Linear(2.0, 3.0)),
    Rescale(ClassifierFree(3.0), 0.7),
    DynamicThreshold(ClassifierFree(3.0), 0.5, 0.1),
    ClassifierFreePlusPlus(0.5),
    AdaptiveProjected(3.0, norm=1.0),
    AutoGuidance(3.0),
    ClassifierFreeZeroStar(3.0),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_every_channel_of_a_latent_is_guided(rule):
    process = RectifiedFlow()
    x_t, m, _ = setting(process)
    cond = labelled(DATA, [1] * B)  # not the one that is led away from
    change = rule(models(process))(x_t, m, cond).x0 - models(process).denoiser(x_t, m, cond).x0
    assert (change.abs().amax((0, 2, 3)) > 1e-3).all()  # [C]


@every_process
def test_classifier_free_guidance_of_outputs_and_of_scores_is_that_of_x0(process):
    x_t, m, cond = setting(process)
    given, scale = models(process), 4.0
    guided = ClassifierFree(scale)(given)(x_t, m, cond)
    asked, free = (given.denoiser(x_t, m, c) for c in (cond, cond.without()))
    score, score_free = (-p.eps / m.sigma for p in (asked, free))
    exactly(guided.eps, -m.sigma * (score_free + scale * (score - score_free)))
    for target in (p for p in PARAMETERIZATIONS if readable(process, p)):
        output, output_free = (target.target(p.x0, p.eps, m) for p in (asked, free))
        read = target.read(output_free + scale * (output - output_free), x_t, m)
        torch.testing.assert_close(read.x0, guided.x0, atol=1e-8, rtol=1e-8)
        torch.testing.assert_close(read.eps, guided.eps, atol=1e-8, rtol=1e-8)


@every_process
def test_clipping_breaks_that_equality(process):
    x_t, m, cond = setting(process)
    given, clip = models(process), DynamicThreshold(NoGuidance(), 0.0, 0.5)
    guided = ClassifierFree(4.0)(given)(x_t, m, cond)
    before = Chain([clip, ClassifierFree(4.0)])(given)(x_t, m, cond)  # each prediction is clipped
    after = DynamicThreshold(ClassifierFree(4.0), 0.0, 0.5)(given)(x_t, m, cond)  # what they make is
    for p in (before, after):
        exactly(m.alpha * p.x0 + m.sigma * p.eps, x_t)
    differ = [
        (a.x0 - b.x0).abs().max() > 1e-3 for a, b in ((before, after), (before, guided), (after, guided))
    ]
    assert all(differ)
