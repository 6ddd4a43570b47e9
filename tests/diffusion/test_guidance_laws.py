"""Laws over every choice of conf/guidance: a choice that is added is held to each of them."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from choices import choices
from torch import Tensor
from toys import PARAMETERIZATIONS, PROCESSES, IdealNetwork, called, ideal, labelled, mixture, readable

from condiff.config.build import build
from condiff.config.kinds import objects
from condiff.diffusion import guidance
from condiff.diffusion.ancestral import AncestralLarge, AncestralSmall
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.guidance import Chain, Guidance, Models
from condiff.diffusion.guidance.classifier import ClassifierMean
from condiff.diffusion.parameterization import Parameterization, Prediction, V
from condiff.diffusion.process import CosineVP, Marginal, Process
from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.samplers import DDIM, Sampler

DATA = mixture(channels=2, size=3)
WEAK = replace(DATA, stds=2 * DATA.stds)
LABELS = [0, 1, 1, 0, 1, 0]
CHOICES = choices("guidance")
CASES: dict[str, dict[str, Any]] = {
    **CHOICES,
    "cfg of scale 0": {**CHOICES["cfg"], "scale": 0.0},
    "negative of each sample's own": {**CHOICES["negative"], "label": None},
    "composition of each sample's own": {**CHOICES["composition"], "labels": None},
    "chain of two scales": {**CHOICES["chain"], "links": [CHOICES["cfg"], CHOICES["cfg_linear"]]},
    "cfg_threshold that cuts": {**CHOICES["cfg_threshold"], "percentile": 0.8, "limit": 0.5},
}
# What makes a rule the plain conditional model, where it is more than scale=1.
AT_ONE: dict[str, dict[str, Any]] = {
    "Composition": {"own_scale": 1.0, "scales": [0.0]},
    "TextAndImage": {"text_scale": 1.0, "image_scale": 1.0},
    "Linear": {"start": 1.0, "end": 1.0},
    "Cosine": {"start": 1.0, "end": 1.0},
    "Power": {"start": 1.0, "end": 1.0},
    "Monotone": {"scales": [1.0, 1.0]},
    "DynamicThreshold": {"limit": 1e6},  # cuts the plain model too
    "Clip": {"limit": 1e6},  # as well
    "ClassifierFreeZeroStar": {"scale": 1.0, "zero": 0.0},  # stands still at every scale
}
NOT_PLAIN = dict.fromkeys(
    ("classifier_mean", "classifier_mean_digits", "classifier_clipped"),
    "leaves x0 as it is and moves the mean of a step, which has a law of its own",
)
every_case = pytest.mark.parametrize("name", CASES)


class Network(IdealNetwork):
    """One that also looks at a picture to edit, and has an attention that can be perturbed."""

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        assert cond.concat is not None
        x_t = x / self.parameterization.input_scale(m)
        x0 = self.data.x0(x_t, m, cond.label) + cond.concat
        return self.parameterization.target(x0, (x_t - m.alpha * x0) / m.sigma, m)

    def perturbed(self, layers: list[str]) -> "Network":
        return Network(WEAK, self.parameterization)


class Unanimous(IdealNetwork):
    """One that says the same of x_t whatever it is asked, and in whatever state its attention is."""

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        x_t = x / self.parameterization.input_scale(m)
        x0 = x_t / x_t.abs().amax((1, 2, 3), keepdim=True)  # a picture's range, so that nothing is cut
        return self.parameterization.target(x0, (x_t - m.alpha * x0) / m.sigma, m)

    def perturbed(self, layers: list[str]) -> "Unanimous":
        return self


def log_probability(x_t: Tensor, m: Marginal, cond: Condition) -> Tensor:
    """Of the label and the picture: what takes the null's prediction to that of the condition, by Bayes."""
    assert cond.concat is not None
    seen = (m.alpha / m.sigma**2 * x_t * cond.concat).flatten(1).sum(1)
    return DATA.log_classifier(x_t, m, cond) + seen


def models(process: Process, target: Parameterization | None = None) -> Models:
    target = target or V()
    strong, weak = (NetworkDenoiser(Network(data, target), process, target) for data in (DATA, WEAK))
    return Models(strong, classifier=log_probability, weaker=weak)


def made(node: dict[str, Any]) -> Guidance:
    return build(node, "guidance")


def fitting(node: dict[str, Any]) -> list[Process]:
    """The processes that a rule is for, the usual one first."""
    return [p for p in PROCESSES if p.straight or not getattr(made(node), "needs_flow", False)]


every_process = pytest.mark.parametrize(
    ("name", "process"),
    [(name, process) for name in CASES for process in fitting(CASES[name])],
    ids=lambda part: part if isinstance(part, str) else called(part),
)


def following(rule: Guidance) -> Sampler:
    """A sampler that can do what the rule asks of it."""
    asked = getattr(rule, "asks", None)
    return next(sampler for sampler in (DDIM(6), AncestralSmall(6)) if asked in (None, *sampler.reads))


def condition() -> Condition:
    """Labels and pictures, and for each sample one other label."""
    plain, picture = labelled(DATA, LABELS), torch.linspace(-1, 1, 6 * 18).double().view(6, 2, 3, 3)
    null = Condition(label=plain.null.label, concat=torch.zeros_like(picture))
    cond = replace(plain, concat=picture, null=null)
    return replace(cond, others=(replace(cond, label=1 - cond.label),))


def setting(process: Process) -> tuple[Tensor, Marginal, Condition]:
    """x_t, its marginals at random times, and its conditions."""
    g = torch.Generator().manual_seed(0)
    m = process.at(process.clock(0.05 + 0.9 * torch.rand(6, generator=g, dtype=torch.float64)))
    x0 = DATA.draw(6, DATA.num_classes, g)
    x_t = m.alpha * x0 + m.sigma * torch.randn(x0.shape, generator=g, dtype=torch.float64)
    return x_t, m, condition()


def told(p: Prediction, x_t: Tensor) -> list[Tensor]:
    """All that a prediction says to a sampler."""
    aside = [v for v in (p.renoise, p.pull(x_t) if p.pull is not None else None) if v is not None]
    return [p.x0, p.eps, *aside]


def same(ours: list[Tensor], theirs: list[Tensor], tolerance: float) -> None:
    assert len(ours) == len(theirs)
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, y, atol=tolerance, rtol=tolerance)


def at_one(node: Any) -> Any:
    """The same choice with every scale in it at 1."""
    if isinstance(node, list):
        return [at_one(item) for item in node]
    if not isinstance(node, dict):
        return node
    inside = {key: at_one(value) for key, value in node.items()}
    usual = {"scale": 1.0} if "scale" in node else {}
    return inside | AT_ONE.get(str(node.get("_target_")).rpartition(".")[2], usual)


def rules() -> Iterator[str]:
    """Every guidance that the package has: what says whether it needs the null."""
    inside = pkgutil.iter_modules(guidance.__path__, f"{guidance.__name__}.")
    for module in (guidance, *(importlib.import_module(found.name) for found in inside)):
        for name, found in vars(module).items():
            is_own = inspect.isclass(found) and found.__module__ == module.__name__
            if is_own and "needs_null" in vars(found):
                yield f"{module.__name__}.{name}"


def test_every_rule_has_a_choice_and_every_choice_is_under_the_laws():
    named = {node["_target_"] for choice in CHOICES.values() for _, node in objects(choice, "guidance")}
    assert set(rules()) <= named
    assert len(set(rules())) >= 19
    assert len(CHOICES) >= 24
    assert len(CASES) == len(CHOICES) + 5
    assert all(fitting(node) for node in CASES.values())
    assert set(NOT_PLAIN) < set(CHOICES)


@pytest.mark.parametrize("name", [name for name in CASES if name not in NOT_PLAIN])
def test_at_scale_one_a_rule_is_the_plain_model(name):
    node = at_one(CASES[name])
    process = fitting(node)[0]
    x_t, m, cond = setting(process)
    p, plain = made(node)(models(process))(x_t, m, cond), models(process).denoiser(x_t, m, cond)
    same([p.x0, p.eps], [plain.x0, plain.eps], 1e-10)


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_a_rule_that_is_excepted_from_scale_one_is_not_the_plain_model_there(name):
    x_t, m, cond = setting(CosineVP())
    p, plain = (g(models(CosineVP())) for g in (made(at_one(CASES[name])), made(CHOICES["none"])))
    assert not torch.allclose(p(x_t, m, cond).x0, plain(x_t, m, cond).x0)


def test_at_scale_one_a_moved_mean_falls_short_of_the_plain_model_by_the_signal_lost_in_the_step():
    """By Bayes the whole way is alpha_s / alpha_t times beta grad log p(c | x_t); alg. 1 goes the latter."""
    process, (x_t, _, cond) = CosineVP(), setting(CosineVP())
    given = Models(ideal(DATA, process, V()), classifier=DATA.log_classifier)
    sampler = AncestralLarge(10)
    now, then = sampler.nodes(process, x_t)[4:6]

    def step(rule: Guidance, asked: Condition) -> Tensor:
        denoiser, rng = rule(given), SampleNoise(0, range(6), dtype=torch.float64)
        return sampler.step(lambda x, node: denoiser(x, node.marginal, asked), x_t, now, then, [], rng)

    free, plain = (step(made(CHOICES["none"]), c) for c in (cond.without(), cond))
    moved = step(ClassifierMean(1.0), cond)
    same([moved - free], [now.alpha / then.alpha * (plain - free)], 1e-10)
    assert (plain - free).abs().max() > 0.01


@every_process
def test_a_rule_is_the_same_in_every_parameterization(name, process):
    x_t, m, cond = setting(process)
    targets = [target for target in PARAMETERIZATIONS if readable(process, target)]
    first, *rest = (told(made(CASES[name])(models(process, p))(x_t, m, cond), x_t) for p in targets)
    assert len(rest) >= 3
    for answer in rest:
        same(answer, first, 1e-9)


@every_case
def test_where_all_models_agree_a_rule_says_what_they_say(name):
    """The weights of what is combined sum to one."""
    process = fitting(CASES[name])[0]
    x_t, m, cond = setting(process)
    x_t = 1000 * x_t  # CFG-Zero* adds 1e-8 to a squared velocity, which is as nothing here
    agreed = NetworkDenoiser(Unanimous(DATA, V()), process, V())
    unmoved = Models(agreed, classifier=lambda x, m, cond: 0 * x.flatten(1).sum(1), weaker=agreed)
    node = {**CASES[name], "limit": 1.0} if "limit" in CASES[name] else CASES[name]
    p, plain = made(node)(unmoved)(x_t, m, cond), agreed(x_t, m, cond)
    same([p.x0, p.eps / 1000], [plain.x0, plain.eps / 1000], 1e-10)


@every_process
def test_x0_and_eps_make_up_x_t(name, process):
    x_t, m, cond = setting(process)
    p = made(CASES[name])(models(process))(x_t, m, cond)
    same([m.alpha * p.x0 + m.sigma * p.eps], [x_t], 1e-9)


@every_case
def test_a_sample_does_not_depend_on_its_neighbours_at_many_times(name):
    process = fitting(CASES[name])[0]
    x_t, m, cond = setting(process)
    whole = told(made(CASES[name])(models(process))(x_t, m, cond), x_t)
    for part in ([0], [2, 5], [4, 3, 1]):
        index = torch.tensor(part)
        own = made(CASES[name])(models(process))(x_t[index], process.at(m.t.flatten()[index]), cond[index])
        same(told(own, x_t[index]), [v[index] for v in whole], 1e-11)


@every_case
def test_a_sample_does_not_depend_on_its_neighbours_all_the_way(name):
    rule = made(CASES[name])
    denoiser, sampler, cond = rule(models(fitting(CASES[name])[0])), following(rule), condition()

    def run(index: list[int]) -> Tensor:
        rng = SampleNoise(7, index, dtype=torch.float64)
        return sampler(denoiser, rng.normal(2, 3, 3), cond[torch.tensor(index)], rng)

    same([torch.cat([run([0]), run([2, 3])])], [run([0, 2, 3])], 1e-10)


@every_case
def test_a_chain_of_one_is_the_rule_itself(name):
    process = fitting(CASES[name])[0]
    x_t, m, cond = setting(process)
    rule, given = made(CASES[name]), models(process)
    ours, alone = told(Chain([rule])(given)(x_t, m, cond), x_t), told(rule(given)(x_t, m, cond), x_t)
    assert len(ours) == len(alone)
    assert all(torch.equal(x, y) for x, y in zip(ours, alone, strict=True))
