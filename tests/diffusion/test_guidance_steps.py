"""What a rule does to the steps of a sampler, and what it refuses."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from toys import called, ideal, labelled, mixture

from condiff.diffusion.ancestral import AncestralLarge, AncestralLearned, AncestralSmall
from condiff.diffusion.condition import Condition
from condiff.diffusion.guidance import Chain, ClassifierFree, Guidance, Interval, Models
from condiff.diffusion.guidance.classifier import Classifier, ClassifierMean, gradient
from condiff.diffusion.guidance.conditions import Composition, Negative
from condiff.diffusion.guidance.corrections import Rescale
from condiff.diffusion.guidance.intervals import LogSNRInterval, TrajectoryInterval
from condiff.diffusion.guidance.plusplus import ClassifierFreePlusPlus
from condiff.diffusion.guidance.projected import AdaptiveProjected
from condiff.diffusion.guidance.references import AutoGuidance, PerturbedAttention
from condiff.diffusion.guidance.schedules import Monotone
from condiff.diffusion.guidance.zero_star import ClassifierFreeZeroStar
from condiff.diffusion.multistep import UniPC
from condiff.diffusion.parameterization import Prediction, V
from condiff.diffusion.process import CosineVP, LinearDDPM, Process, RectifiedFlow
from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.samplers import DDIM, DPMSolverPP2M, Euler, Heun

DATA = mixture(channels=2, size=3)
CFG = ClassifierFree(3.0)


def exactly(x: torch.Tensor, y: torch.Tensor) -> None:
    torch.testing.assert_close(x, y, atol=1e-10, rtol=1e-10)


def setting(process: Process):
    """x_t, its marginals at random times, and labels."""
    g = torch.Generator().manual_seed(0)
    m = process.at(process.clock(0.05 + 0.9 * torch.rand(6, generator=g, dtype=torch.float64)))
    x0 = DATA.draw(6, DATA.num_classes, g)
    x_t = m.alpha * x0 + m.sigma * torch.randn(x0.shape, generator=g, dtype=torch.float64)
    return x_t, m, labelled(DATA, [0, 1, 1, 0, 1, 0])


def models(process) -> Models:
    weak = ideal(replace(DATA, stds=2 * DATA.stds), process, V())
    return Models(ideal(DATA, process, V()), classifier=DATA.log_classifier, weaker=weak)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda rule: rule,
        lambda rule: Chain([rule, ClassifierFree(1.5)]),
        lambda rule: Interval(rule, 0.1, 9.0),
        lambda rule: Rescale(rule, 0.5),
    ],
)
def test_momentum_starts_at_nothing_in_every_generation(wrap):
    denoiser = wrap(AdaptiveProjected(3.0, momentum=-0.5))(models(CosineVP()))
    noise, cond = (
        torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(0)).double(),
        labelled(DATA, [0, 1]),
    )
    first = DDIM(5)(denoiser, noise, cond)
    assert torch.equal(DDIM(5)(denoiser, noise, cond), first)
    without = DDIM(5)(wrap(AdaptiveProjected(3.0))(models(CosineVP())), noise, cond)
    assert not torch.allclose(first, without)


def test_a_learned_variance_is_that_of_the_conditional_branch():
    asked, free = (
        Prediction(*torch.randn(3, 2, 1, 1, 1), spread=torch.full((2, 1, 1, 1), v)) for v in (0.3, -0.9)
    )
    assert Prediction.affine((3.0, asked), (-2.0, free)).spread is asked.spread


def test_the_mean_of_a_step_moves_by_its_variance_not_its_root():
    process, (x_t, _, cond) = CosineVP(), setting(CosineVP())
    x_t, cond = x_t[:4], cond[:4]
    sampler = AncestralLarge(10)
    now, then = sampler.nodes(process, x_t)[4:6]
    given, rng = models(process), (lambda: SampleNoise(0, range(4), dtype=torch.float64))

    def step(guidance: Guidance) -> torch.Tensor:
        denoiser = guidance(given)
        return sampler.step(lambda x, node: denoiser(x, node.marginal, cond), x_t, now, then, [], rng())

    beta = now.sigma**2 - (now.alpha / then.alpha * then.sigma) ** 2  # its variance, on this process
    moved = step(ClassifierMean(2.0)) - step(ClassifierMean(0.0))
    exactly(moved, 2 * beta * gradient(DATA.log_classifier, x_t, now.marginal, cond))
    assert not torch.allclose(step(ClassifierMean(2.0, at="mean")), step(ClassifierMean(2.0)))


def test_cfg_plus_plus_in_ddim_is_its_algorithm():
    process, cond = CosineVP(), labelled(DATA, [0, 1])
    noise = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    given, sampler = models(process), DDIM(6)
    nodes, x = sampler.nodes(process, noise), process.prior(noise)
    for now, then in pairwise(nodes):
        own, free = (given.denoiser(x, now.marginal, c) for c in (cond, cond.without()))
        x = then.alpha * (free.x0 + 0.4 * (own.x0 - free.x0)) + then.sigma * free.eps
    exactly(sampler(ClassifierFreePlusPlus(0.4)(given), noise, cond), x)


@pytest.mark.parametrize("process", [CosineVP(), RectifiedFlow(), LinearDDPM()], ids=called)
def test_every_first_order_step_of_cfg_plus_plus_is_that_of_ddim(process):
    """A solver of higher order starts from x0 with the null's noise on it, and is of first order alone."""
    noise = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    denoiser, cond = ClassifierFreePlusPlus(0.4)(models(process)), labelled(DATA, [0, 1])
    exactly(Euler(6)(denoiser, noise, cond), DDIM(6)(denoiser, noise, cond))
    now, then = DDIM(6).nodes(process, noise)[2:4]
    x = process.prior(noise)

    def step(sampler) -> torch.Tensor:
        return sampler.step(lambda x_t, node: denoiser(x_t, node.marginal, cond), x, now, then, [], None)

    exactly(step(DPMSolverPP2M(6)), step(DDIM(6)))


def test_cfg_plus_plus_at_scale_zero_is_the_null_in_every_solver_that_follows_it():
    noise = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    given, cond = models(CosineVP()), labelled(DATA, [0, 1])
    for sampler in (Euler(5), DDIM(5), DPMSolverPP2M(5)):
        plain = sampler(given.denoiser, noise, cond.without())
        exactly(sampler(ClassifierFreePlusPlus(0.0)(given), noise, cond), plain)


@pytest.mark.parametrize("sampler", [Heun(4), UniPC(4), AncestralSmall(4)], ids=called)
def test_a_sampler_refuses_a_noise_that_it_cannot_add_again(sampler):
    denoiser = ClassifierFreePlusPlus(0.5)(models(CosineVP()))
    with pytest.raises(ValueError, match=rf"{type(sampler).__name__} cannot follow .* use sampler=ddim"):
        sampler(denoiser, torch.randn(2, 2, 3, 3).double(), labelled(DATA, [0, 1]), SampleNoise(0, [0, 1]))


def test_only_ancestral_sampling_moves_a_mean():
    denoiser = ClassifierMean(1.0)(models(CosineVP()))
    with pytest.raises(ValueError, match=r"DDIM cannot follow .* use sampler=ancestral"):
        DDIM(4)(denoiser, torch.randn(2, 2, 3, 3).double(), labelled(DATA, [0, 1]))


def refused(make, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_rule_says_in_a_line_what_it_lacks():
    bare = Models(ideal(DATA, CosineVP(), V()))
    x_t, m, cond = setting(CosineVP())
    refused(lambda: AutoGuidance(2.0)(bare), "needs a weaker model of the same data")
    refused(lambda: Classifier(2.0)(bare), "Classifier needs a classifier of noisy images")
    refused(lambda: ClassifierMean(2.0)(bare), "ClassifierMean needs a classifier of noisy images")
    refused(lambda: ClassifierFreeZeroStar(2.0)(bare), "needs a flow, and the process is CosineVP")
    refused(lambda: PerturbedAttention(2.0, ["mid"])(bare), "IdealNetwork has no self-attention")
    chained = Chain([ClassifierFree(2.0), PerturbedAttention(2.0, ["mid"])])
    refused(lambda: chained(bare), "first link of its chain")
    refused(
        lambda: Negative(2.0)(bare)(x_t, m, cond), "Negative.label is null, so each sample must bring 1 more"
    )
    no_label = Condition(tokens=torch.zeros(6, 1, 1))
    refused(lambda: Negative(2.0, label=1)(bare)(x_t, m, no_label), "needs a study with labels")
    learned = AncestralLearned(3)
    refused(
        lambda: learned(bare.denoiser, x_t, cond, SampleNoise(0, range(6), dtype=torch.float64)),
        "needs a network that answers with twice the channels",
    )


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Composition([]), "at least one condition"),
        (lambda: Composition([1.0], [0, 1]), "as many as scales, got 2 and 1"),
        (lambda: ClassifierFreePlusPlus(1.5), r"scale must be in \[0, 1\], got 1.5"),
        (lambda: Monotone([1.0, 3.0, 2.0]), "only rise or only fall"),
        (lambda: LogSNRInterval(CFG, 2.0, -2.0), "low must be below high"),
        (lambda: TrajectoryInterval(CFG, 0.8, 0.8), "start must be below stop"),
        (lambda: PerturbedAttention(2.0, []), "at least one layer"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_a_sentence(make, sentence):
    refused(make, sentence)
