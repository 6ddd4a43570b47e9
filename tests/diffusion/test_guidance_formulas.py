"""Every rule is its formula, in float64, on a labelled mixture whose fields are known."""

import math
from dataclasses import replace

import pytest
import torch
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from diffusers.guiders.classifier_free_guidance import ClassifierFreeGuidance
from diffusers.guiders.classifier_free_zero_star_guidance import cfg_zero_star_scale
from diffusers.guiders.guider_utils import rescale_noise_cfg
from torch import Tensor
from toys import PROCESSES, called, ideal, labelled, mixture

from condiff.diffusion.condition import Condition
from condiff.diffusion.guidance import ClassifierFree, Interval, Models
from condiff.diffusion.guidance.classifier import Classifier, ClassifierMean, gradient
from condiff.diffusion.guidance.conditions import Composition, Negative, TextAndImage
from condiff.diffusion.guidance.corrections import DynamicThreshold, Rescale
from condiff.diffusion.guidance.intervals import ClassifierFreeInterval, LogSNRInterval, TrajectoryInterval
from condiff.diffusion.guidance.plusplus import ClassifierFreePlusPlus
from condiff.diffusion.guidance.projected import AdaptiveProjected
from condiff.diffusion.guidance.references import AutoGuidance
from condiff.diffusion.guidance.zero_star import ClassifierFreeZeroStar
from condiff.diffusion.parameterization import Prediction, V
from condiff.diffusion.process import CosineVP, Process, RectifiedFlow
from condiff.diffusion.samplers import DDIM

DATA = mixture(channels=2, size=3)
B = 6
every_process = pytest.mark.parametrize("process", PROCESSES, ids=called)


def exactly(x: Tensor, y: Tensor) -> None:
    torch.testing.assert_close(x, y, atol=1e-10, rtol=1e-10)


def setting(process: Process, seed: int = 0):
    """x_t, its marginals at random times, labels and a random scale."""
    g = torch.Generator().manual_seed(seed)
    u = 0.05 + 0.9 * torch.rand(B, generator=g, dtype=torch.float64)
    m = process.at(process.clock(u))
    x0 = DATA.draw(B, DATA.num_classes, g)
    x_t = m.alpha * x0 + m.sigma * torch.randn(x0.shape, generator=g, dtype=torch.float64)
    return x_t, m, labelled(DATA, [0, 1, 1, 0, 1, 0]), float(1 + 3 * torch.rand(1, generator=g))


def x0_of(x_t: Tensor, m, label: int | Tensor) -> Tensor:
    if isinstance(label, int):
        label = torch.full((len(x_t),), label)
    return DATA.x0(x_t, m, label)


def holds(p: Prediction, x0: Tensor, x_t: Tensor, m) -> None:
    """The prediction is this x0, and the noise that goes with it."""
    exactly(p.x0, x0)
    torch.testing.assert_close(m.alpha * p.x0 + m.sigma * p.eps, x_t, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("process", [CosineVP(), RectifiedFlow()], ids=called)
def test_classifier_free_guidance_is_diffusers_guider_on_the_same_predictions(process):
    x_t, m, cond, s = setting(process)
    own, free = x0_of(x_t, m, cond.label), x0_of(x_t, m, 2)
    guider = ClassifierFreeGuidance(guidance_scale=s)
    guider.set_state(step=0, num_inference_steps=10, timestep=torch.tensor(500))
    theirs = guider.forward(own, free)
    theirs = getattr(theirs, "pred", theirs)
    holds(ClassifierFree(s)(Models(ideal(DATA, process, V())))(x_t, m, cond), theirs, x_t, m)


@every_process
def test_negative_is_away_from_another_label_for_each_sample(process):
    x_t, m, cond, s = setting(process)
    models = Models(ideal(DATA, process, V()))
    own, other = x0_of(x_t, m, cond.label), x0_of(x_t, m, 1 - cond.label)
    brought = replace(cond, others=(replace(labelled(DATA, (1 - cond.label).tolist())),))
    holds(Negative(s)(models)(x_t, m, brought), other + s * (own - other), x_t, m)
    zero = x0_of(x_t, m, 0)
    holds(Negative(s, label=0)(models)(x_t, m, cond), zero + s * (own - zero), x_t, m)


@every_process
def test_composition_is_and_and_not(process):
    x_t, m, cond, s = setting(process)
    models = Models(ideal(DATA, process, V()))
    own, zero, one, free = (x0_of(x_t, m, label) for label in (cond.label, 0, 1, 2))
    rule = Composition([s, -0.5], [0, 1], own_scale=1.5)
    holds(
        rule(models)(x_t, m, cond), free + 1.5 * (own - free) + s * (zero - free) - 0.5 * (one - free), x_t, m
    )


def test_two_equal_conditions_are_one_with_the_summed_scale():
    x_t, m, cond, _ = setting(CosineVP())
    models = Models(ideal(DATA, CosineVP(), V()))
    twice = Composition([1.2, 0.6], [0, 0])(models)(x_t, m, cond)
    exactly(twice.x0, Composition([1.8], [0])(models)(x_t, m, cond).x0)
    same = replace(cond, others=(cond,))
    exactly(
        Composition([1.5], own_scale=0.5)(models)(x_t, m, same).x0,
        ClassifierFree(2.0)(models)(x_t, m, cond).x0,
    )


class Edits:
    """A formula that adds what the words say, what the picture says, and what both say together."""

    process = CosineVP()

    def __call__(self, x_t: Tensor, m, cond: Condition) -> Prediction:
        words, picture = (v.view(-1, 1, 1, 1) for v in (cond.tokens[:, 0, 0], cond.concat[:, 0, 0, 0]))
        x0 = torch.zeros_like(x_t) + words + 10 * picture + 100 * words * picture
        return Prediction(x0, (x_t - m.alpha * x0) / m.sigma)


def test_text_and_image_measures_the_words_on_top_of_the_picture():
    x_t, m, *_ = setting(CosineVP())
    null = Condition(tokens=torch.zeros(B, 1, 1), concat=torch.zeros(B, 1, 3, 3))
    cond = Condition(tokens=torch.ones(B, 1, 1), concat=torch.ones(B, 1, 3, 3), null=null)
    p = TextAndImage(text_scale=7.5, image_scale=1.5)(Models(Edits()))(x_t, m, cond)
    free, picture, both = 0, 10, 111
    holds(p, torch.full_like(x_t, free + 1.5 * (picture - free) + 7.5 * (both - picture)), x_t, m)
    with pytest.raises(ValueError, match=r"needs a picture to edit \(Condition.concat\)"):
        TextAndImage(7.5, 1.5)(Models(Edits()))(x_t, m, replace(cond, concat=None))


@every_process
def test_the_gradient_is_that_of_the_sum_of_log_probabilities(process):
    x_t, m, cond, _ = setting(process)
    one, free = x0_of(x_t, m, cond.label), x0_of(x_t, m, 2)
    score = m.alpha * (one - free) / m.sigma**2  # by Bayes and Tweedie
    torch.testing.assert_close(gradient(DATA.log_classifier, x_t, m, cond), score, atol=1e-10, rtol=1e-10)


@every_process
def test_classifier_guidance_at_scale_one_is_the_conditional_model(process):
    x_t, m, cond, s = setting(process)
    models = Models(ideal(DATA, process, V()), classifier=DATA.log_classifier)
    own, free = x0_of(x_t, m, cond.label), x0_of(x_t, m, 2)
    holds(Classifier(1.0)(models)(x_t, m, cond), own, x_t, m)
    holds(Classifier(s)(models)(x_t, m, cond), free + s * (own - free), x_t, m)
    holds(Classifier(0.0)(models)(x_t, m, cond), free, x_t, m)


def test_the_gradient_flows_inside_a_sampler_that_keeps_none():
    _, _, cond, _ = setting(CosineVP())
    models = Models(ideal(DATA, CosineVP(), V()), classifier=DATA.log_classifier)
    noise = torch.randn(B, 2, 3, 3, generator=torch.Generator().manual_seed(1)).double()
    x = DDIM(5)(Classifier(1.0)(models), noise, cond)
    assert not x.requires_grad
    torch.testing.assert_close(x, DDIM(5)(models.denoiser, noise, cond), atol=1e-8, rtol=1e-8)


def test_where_no_signal_is_left_there_is_nothing_to_classify():
    process = RectifiedFlow()
    x_t, _, cond, _ = setting(process)
    m = process.at(torch.ones(B, dtype=torch.float64))
    models = Models(ideal(DATA, process, V()), classifier=DATA.log_classifier)
    exactly(Classifier(3.0)(models)(x_t, m, cond).x0, x0_of(x_t, m, 2))


@pytest.mark.parametrize("at", ["x_t", "mean"])
def test_the_pull_on_a_mean_is_the_gradient_at_x_t_or_at_that_mean(at):
    x_t, m, cond, _ = setting(CosineVP())
    models = Models(ideal(DATA, CosineVP(), V()), classifier=DATA.log_classifier)
    p, mean = ClassifierMean(2.0, at=at)(models)(x_t, m, cond), 0.9 * x_t
    assert p.pull is not None
    exactly(p.x0, x0_of(x_t, m, 2))
    where = mean if at == "mean" else x_t
    exactly(p.pull(mean), 2 * gradient(DATA.log_classifier, where, m, cond))


@every_process
@pytest.mark.parametrize("phi", [0.0, 0.7, 1.0])
def test_rescale_matches_the_spread_of_each_sample(process, phi):
    x_t, m, cond, s = setting(process)
    models = Models(ideal(DATA, process, V()))
    own, free = x0_of(x_t, m, cond.label), x0_of(x_t, m, 2)
    p = Rescale(ClassifierFree(s), phi)(models)(x_t, m, cond)
    holds(p, rescale_noise_cfg(free + s * (own - free), own, phi), x_t, m)
    if phi == 1:
        exactly(p.x0.std((1, 2, 3)), own.std((1, 2, 3)))


@every_process
def test_dynamic_thresholding_cuts_each_sample_at_its_percentile(process):
    x_t, m, cond, _ = setting(process)
    models = Models(ideal(DATA, process, V()))
    own, free = x0_of(x_t, m, cond.label), x0_of(x_t, m, 2)
    guided = free + 4 * (own - free)
    p = DynamicThreshold(ClassifierFree(4.0), percentile=0.8, limit=1.5)(models)(x_t, m, cond)
    for i, x0 in enumerate(guided):
        size = max(float(x0.abs().flatten().quantile(0.8)), 1.5)
        exactly(p.x0[i], x0.clamp(-size, size) * 1.5 / size)
    torch.testing.assert_close(m.alpha * p.x0 + m.sigma * p.eps, x_t, atol=1e-9, rtol=1e-9)


@every_process
def test_cfg_plus_plus_takes_x0_from_the_guided_and_the_noise_from_the_null(process):
    x_t, m, cond, _ = setting(process)
    own, free = x0_of(x_t, m, cond.label), x0_of(x_t, m, 2)
    p = ClassifierFreePlusPlus(0.3)(Models(ideal(DATA, process, V())))(x_t, m, cond)
    holds(p, free + 0.3 * (own - free), x_t, m)
    exactly(p.renoise, (x_t - m.alpha * free) / m.sigma)


@every_process
@pytest.mark.parametrize("parallel", [0.0, 0.4, 1.0])
def test_apg_is_that_of_diffusers_over_several_steps(process, parallel):
    models = Models(ideal(DATA, process, V()))
    rule = AdaptiveProjected(3.0, norm=0.8, momentum=-0.5, parallel=parallel)(models)
    memory = MomentumBuffer(-0.5)
    for step in range(3):
        x_t, m, cond, _ = setting(process, step)
        own, free = x0_of(x_t, m, cond.label), x0_of(x_t, m, 2)
        theirs = normalized_guidance(own, free, 2.0, memory, parallel, 0.8, use_original_formulation=True)
        holds(rule(x_t, m, cond), theirs, x_t, m)


def test_apg_with_nothing_tamed_is_classifier_free_guidance():
    x_t, m, cond, s = setting(CosineVP())
    models = Models(ideal(DATA, CosineVP(), V()))
    apg = AdaptiveProjected(s, parallel=1.0)(models)(x_t, m, cond)
    exactly(apg.x0, ClassifierFree(s)(models)(x_t, m, cond).x0)


@every_process
def test_autoguidance_asks_both_models_the_same(process):
    x_t, m, cond, s = setting(process)
    weak = replace(DATA, stds=2 * DATA.stds)
    models = Models(ideal(DATA, process, V()), weaker=ideal(weak, process, V()))
    strong, weaker = x0_of(x_t, m, cond.label), weak.x0(x_t, m, cond.label)
    holds(AutoGuidance(s)(models)(x_t, m, cond), weaker + s * (strong - weaker), x_t, m)


@pytest.mark.parametrize("process", [RectifiedFlow(), RectifiedFlow(3.0)], ids=called)
def test_cfg_zero_star_is_that_of_diffusers(process):
    x_t, m, cond, s = setting(process)
    v, v_free = ((x_t - x0) / m.t for x0 in (x0_of(x_t, m, cond.label), x0_of(x_t, m, 2)))  # eps - x0
    best = (v * v_free).sum((1, 2, 3), keepdim=True) / (v_free.square().sum((1, 2, 3), keepdim=True) + 1e-8)
    theirs = cfg_zero_star_scale(v.flatten(1), v_free.flatten(1)).view(-1, 1, 1, 1)  # in float32
    torch.testing.assert_close(best, theirs, atol=1e-5, rtol=1e-5)
    p = ClassifierFreeZeroStar(s, zero=0.0)(Models(ideal(DATA, process, V())))(x_t, m, cond)
    exactly(p.eps - p.x0, best * v_free + s * (v - best * v_free))
    exactly(m.alpha * p.x0 + m.sigma * p.eps, x_t)


@every_process
def test_an_interval_is_the_same_in_log_snr_and_as_a_part_of_the_way(process):
    x_t, m, cond, s = setting(process)
    models, inner = Models(ideal(DATA, process, V())), ClassifierFree(s)
    ends = process.at(process.clock(torch.tensor([0.7, 0.3], dtype=torch.float64)))
    high, low = (ends.sigma / ends.alpha).flatten().tolist()
    expected = Interval(inner, low, high)(models)(x_t, m, cond).x0
    snr = [float(v) for v in ends.log_snr.flatten()]
    exactly(LogSNRInterval(inner, *snr)(models)(x_t, m, cond).x0, expected)
    exactly(TrajectoryInterval(inner, 0.3, 0.7)(models)(x_t, m, cond).x0, expected)
    exactly(ClassifierFreeInterval(s, low, high)(models)(x_t, m, cond).x0, expected)
    whole = TrajectoryInterval(inner)(models)(x_t, m, cond).x0
    exactly(whole, inner(models)(x_t, m, cond).x0)
    assert not torch.allclose(whole, expected)


def test_from_the_first_step_on_also_where_no_signal_is_left():
    """As samplers ask, of one level, and as a batch of many times does."""
    process, cond, x_t = RectifiedFlow(), labelled(DATA, [0, 1]), torch.randn(2, 2, 3, 3, dtype=torch.float64)
    models, inner = Models(ideal(DATA, process, V())), ClassifierFree(3.0)
    m = process.at(torch.tensor([1.0, 1.0], dtype=torch.float64))
    for at in (m, m.row(0, 2, math.inf)):
        guided, plain = inner(models)(x_t, at, cond).x0, models.denoiser(x_t, at, cond).x0
        exactly(TrajectoryInterval(inner, 0, 0.5)(models)(x_t, at, cond).x0, guided)
        exactly(TrajectoryInterval(inner, 0.1, 0.5)(models)(x_t, at, cond).x0, plain)
        assert not torch.allclose(guided, plain)


def test_noise_left_is_the_clock_backwards():
    u = torch.linspace(0.01, 1, 50, dtype=torch.float64)
    for process in PROCESSES:
        exactly(process.noise_left(process.clock(u)), u)
