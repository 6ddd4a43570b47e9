"""Classifier-free guidance, intervals and chains, on a mixture whose fields are formulas."""

from dataclasses import replace

import pytest
import torch
from toys import PROCESSES, called, gaussians, ideal, labelled, mixture

from condiff.diffusion.guidance import Chain, ClassifierFree, Interval, Models, NoGuidance
from condiff.diffusion.parameterization import V
from condiff.diffusion.process import CosineVP, Process, VarianceExploding
from condiff.diffusion.samplers import DDIM

DATA = mixture(channels=2, size=2)


def some_times(process: Process, n: int = 6):
    m = process.at(process.clock(torch.linspace(0.15, 0.95, n).double()))
    x_t = torch.randn(n, 2, 2, 2, generator=torch.Generator().manual_seed(1)).double() * (m.alpha + m.sigma)
    return x_t, m, labelled(DATA, [0, 1] * (n // 2))


@pytest.mark.parametrize("process", PROCESSES, ids=called)
def test_classifier_free_is_the_score_of_the_tilted_density(process):
    x_t, m, cond = some_times(process)
    x = x_t.clone().requires_grad_()
    null = cond.without()
    tilted = 3 * DATA.log_density(x, m, cond.label) - 2 * DATA.log_density(x, m, null.label)
    (score,) = torch.autograd.grad(tilted.sum(), x)
    guided = ClassifierFree(3.0)(Models(ideal(DATA, process, V())))(x_t, m, cond)
    torch.testing.assert_close(guided.eps, -m.sigma * score, atol=1e-10, rtol=1e-9)


def test_scale_one_is_the_conditional_model_and_zero_the_null():
    x_t, m, cond = some_times(CosineVP())
    plain = ideal(DATA, CosineVP(), V())
    for scale, asked in ((1.0, cond), (0.0, cond.without())):
        torch.testing.assert_close(
            ClassifierFree(scale)(Models(plain))(x_t, m, cond).x0, plain(x_t, m, asked).x0, atol=1e-12, rtol=0
        )


@pytest.mark.parametrize(("scale", "batches"), [(1.0, [6]), (2.0, [12]), (0.0, [12])])
def test_one_pass_at_scale_one_and_else_both_in_one_batch(scale, batches):
    x_t, m, cond = some_times(CosineVP())
    denoiser = ideal(DATA, CosineVP(), V())
    ClassifierFree(scale)(Models(denoiser))(x_t, m, cond)
    assert denoiser.network.batches == batches


def test_scale_one_needs_no_null():
    x_t, m, cond = some_times(CosineVP())
    plain = ideal(DATA, CosineVP(), V())
    bare = type(cond)(label=cond.label)
    assert torch.equal(ClassifierFree(1.0)(Models(plain))(x_t, m, bare).x0, plain(x_t, m, cond).x0)
    with pytest.raises(ValueError, match="has no null"):
        ClassifierFree(2.0)(Models(plain))(x_t, m, bare)


def test_rules_say_whether_they_need_the_null():
    assert [rule.needs_null for rule in (NoGuidance(), ClassifierFree(2.0))] == [False, True]


def test_the_interval_is_open_below_and_closed_above():
    process, data = VarianceExploding(), gaussians(-1.0, 1.0)
    plain, cond, x_t = (
        ideal(data, process, V()),
        labelled(data, [0] * 6),
        torch.full((6, 1, 1, 1), 0.1).double(),
    )
    m = process.at(torch.tensor([0.1, 0.2, 0.21, 2.9, 3.0, 3.1], dtype=torch.float64))
    guided = Interval(ClassifierFree(4.0), 0.2, 3.0)(Models(plain))(x_t, m, cond)
    with_cfg, without = ClassifierFree(4.0)(Models(plain))(x_t, m, cond), plain(x_t, m, cond)
    inside = torch.tensor([False, False, True, True, True, False])
    assert torch.equal(guided.x0[inside], with_cfg.x0[inside])
    assert torch.equal(guided.x0[~inside], without.x0[~inside])
    assert ((with_cfg.x0 - without.x0).abs() > 1e-3).all()


@pytest.mark.parametrize(("level", "passes"), [(0.2, 1), (0.21, 2), (3.0, 2), (3.1, 1)])
def test_a_level_known_to_the_host_is_met_by_the_same_ends_and_saves_the_second_pass(level, passes):
    process, data = VarianceExploding(), gaussians(-1.0, 1.0)
    denoiser, x_t = ideal(data, process, V()), torch.full((3, 1, 1, 1), 0.1).double()
    m = replace(process.at(torch.full((3,), level, dtype=torch.float64)), level=level)
    Interval(ClassifierFree(4.0), 0.2, 3.0)(Models(denoiser))(x_t, m, labelled(data, [0] * 3))
    assert denoiser.network.batches == [3 * passes]


@pytest.mark.parametrize("process", PROCESSES, ids=called)
@pytest.mark.parametrize("steps", [7, 20, 50])
def test_the_interval_is_the_same_range_of_noise_whatever_the_steps(process, steps):
    low, high = 0.3, 4.0
    denoiser = ideal(DATA, process, V())
    sampler = DDIM(steps)
    sampler(Interval(ClassifierFree(2.0), low, high)(Models(denoiser)), *noise_and_cond(3))
    levels = [node.marginal.level for node in sampler.nodes(process, torch.zeros(3, 1, 1, 1))[:-1]]
    assert denoiser.network.batches == [6 if low < level <= high else 3 for level in levels]
    assert {3, 6} == set(denoiser.network.batches)


def noise_and_cond(n: int):
    noise = torch.randn(n, 2, 2, 2, generator=torch.Generator().manual_seed(2)).double()
    return noise, labelled(DATA, [0, 1, 1][:n])


def test_an_interval_over_everything_is_the_rule_and_one_over_nothing_is_no_guidance():
    process = CosineVP()
    models = Models(ideal(DATA, process, V()))
    noise, cond = noise_and_cond(3)
    sampler = DDIM(8)
    free, guided = (sampler(rule(models), noise, cond) for rule in (NoGuidance(), ClassifierFree(3.0)))
    everything, nothing = Interval(ClassifierFree(3.0), 0.0, 1e6), Interval(ClassifierFree(3.0), 1e6, 1e7)
    assert torch.equal(sampler(everything(models), noise, cond), guided)
    assert torch.equal(sampler(nothing(models), noise, cond), free)
    assert not torch.allclose(free, guided)


def test_a_chain_of_two_classifier_free_rules_is_one_with_the_product_of_the_scales():
    x_t, m, cond = some_times(CosineVP())
    models = Models(ideal(DATA, CosineVP(), V()))
    chained = Chain([ClassifierFree(2.0), ClassifierFree(1.5)])(models)(x_t, m, cond)
    torch.testing.assert_close(chained.x0, ClassifierFree(3.0)(models)(x_t, m, cond).x0)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ClassifierFree(-1.0), "ClassifierFree.scale must be >= 0, got -1.0"),
        (lambda: Interval(NoGuidance(), 3.0, 3.0), "low must be below Interval.high, got 3 and 3"),
        (lambda: Chain([]), "must name at least one guidance"),
    ],
)
def test_rules_that_make_no_sense_are_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
