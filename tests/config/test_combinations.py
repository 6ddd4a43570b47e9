"""The choices of conf/ with one another: what the config accepts can be drawn, and what cannot it refuses."""

from typing import Any

import pytest
import torch
import yaml
from choices import CONF, choices
from torch import Tensor, nn

from condiff.conditioners.label import ClassLabel
from condiff.config.build import build
from condiff.config.compose import check
from condiff.config.nodes import attribute
from condiff.config.validate import validate
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.guidance import Models
from condiff.diffusion.process import Marginal
from condiff.diffusion.randomness import SampleNoise
from condiff.errors import ConfigError
from condiff.stages.study import STAGES

GUIDANCES, SAMPLERS, PROCESSES = choices("guidance"), choices("sampler"), choices("process")
OBJECTIVES = choices("objective")
NETWORKS = choices("network")
NAMES = [stage.name for stage in STAGES]
(STUDY,) = check(["experiment=cfg_latent", "stages=[data,denoiser,samples]"], CONF, NAMES) or [{}]
SHAPE, CLASSES = (2, 4, 4), 10


class Toy(nn.Module):
    """In the place of a trained network: as many channels, and self-attention that can be perturbed."""

    def __init__(self, spread: bool) -> None:
        super().__init__()
        self.spread = spread

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        out = torch.tanh(x.roll(1, -1) - m.angle + 0.1 * cond.label.view(-1, 1, 1, 1))
        return torch.cat([out, out], 1) if self.spread else out

    def perturbed(self, layers: list[str]) -> nn.Module:
        return Toy(self.spread)


def log_probability(x_t: Tensor, m: Marginal, cond: Condition) -> Tensor:
    return -(x_t - 0.1 * cond.label.view(-1, 1, 1, 1)).square().flatten(1).sum(1)


@torch.no_grad()
def drawn(cfg: dict[str, Any]) -> Tensor:
    """Three samples, as the stage samples makes them."""
    process, target = build(cfg["process"], "process"), build(cfg["objective"]["parameterization"], "target")
    denoiser = NetworkDenoiser(Toy(cfg["network"].get("learned_variance", False)), process, target)
    has = cfg["stages"]
    models = Models(
        denoiser, log_probability if "classifier" in has else None, denoiser if "weaker" in has else None
    )
    cond = ClassLabel(CLASSES, cfg["method"]["drop_condition"] > 0)({"label": torch.arange(3)})
    rng = SampleNoise(0, range(3))
    guided, sampler = build(cfg["guidance"], "guidance")(models), build(cfg["sampler"], "sampler")
    return sampler(guided, rng.normal(*SHAPE), cond, rng)


def told(**parts: Any) -> tuple[bool, bool]:
    """Whether the config accepts the study with these parts, and whether samples of it can be drawn."""
    asked, accepted = {**STUDY, **parts}, True
    try:
        cfg = validate(asked, NAMES)
    except ConfigError:
        cfg, accepted = {**asked, "stages": NAMES}, False
    try:
        x0 = drawn(cfg)
    except (ValueError, ConfigError):
        return accepted, False
    assert x0.shape == (3, *SHAPE)
    assert x0.isfinite().all()
    return accepted, True


def of(sampler: str, steps: int = 3) -> dict[str, Any]:
    return {**SAMPLERS[sampler], "steps": steps}


def learning(sampler: str) -> dict[str, Any]:
    """A network that says what this sampler wants to know."""
    return {**STUDY["network"], "learned_variance": wants_variance(sampler)}


def wants_variance(sampler: str) -> bool:
    return SAMPLERS[sampler]["_target_"].endswith(".AncestralLearned")


def needs_chain(sampler: str) -> bool:
    return SAMPLERS[sampler]["grid"]["_target_"].endswith(("Leading", "Linspace"))


def test_every_choice_is_under_test():
    assert len(GUIDANCES) >= 28
    assert len(SAMPLERS) >= 19
    assert len(PROCESSES) >= 6
    assert len(OBJECTIVES) >= 6
    assert len(NETWORKS) >= 2
    assert {*KINDS} < {*EXPERIMENTS}
    assert {*NAMED} < {*GUIDANCES}


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_guidance_with_every_sampler_on_every_process(process, sampler):
    parts = {"process": PROCESSES[process], "sampler": of(sampler), "network": learning(sampler)}
    said = {name: told(**parts, guidance=node) for name, node in GUIDANCES.items()}
    assert [name for name, (accepted, runs) in said.items() if accepted != runs] == []
    assert said["cfg"][0] == (not needs_chain(sampler) or "num_steps" in PROCESSES[process])


@pytest.mark.parametrize("guidance", GUIDANCES)
@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("sampler", ["ddim", "ancestral"])
def test_every_guidance_without_a_null(guidance, scale, sampler):
    node = GUIDANCES[guidance]
    node = {**node, "scale": scale} if "scale" in node else node
    method, flow = {**STUDY["method"], "drop_condition": 0.0}, PROCESSES["rectified_flow"]
    accepted, runs = told(guidance=node, method=method, process=flow, sampler=of(sampler))
    assert accepted == runs


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_sampler_with_every_network_that_learns_no_variance(sampler, network):
    node = {**NETWORKS[network]}
    if node.get("learned_variance") is not None:  # others cannot learn any
        node["learned_variance"] = False
    if node.get("weights") == "???":
        node["weights"] = "a folder"
    data = {**STUDY["data"], "size": 512}  # which every network can halve often enough
    process = PROCESSES["rectified_flow" if attribute(node, "needs_flow") else "linear"]
    accepted, runs = told(sampler=of(sampler), network=node, process=process, data=data)
    fits = not needs_chain(sampler) or "num_steps" in process
    assert accepted == runs == (fits and not wants_variance(sampler))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("process", PROCESSES)
def test_every_objective_on_every_process(objective, process):
    accepted, runs = told(objective=OBJECTIVES[objective], process=PROCESSES[process])
    assert accepted == runs == (not objective.startswith("eps") or process != "rectified_flow")


@pytest.mark.parametrize("process", ["linear", "scaled_linear"])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 7])
def test_every_sampler_has_at_most_the_steps_of_a_chain(process, sampler, steps):
    chain, network = {**PROCESSES[process], "num_steps": 6}, learning(sampler)
    accepted, runs = told(process=chain, sampler=of(sampler, steps), network=network)
    assert accepted == (steps <= 6)
    assert runs or not accepted  # some grids could be asked between the steps


EVERYWHERE = ("none", "pag", "autoguidance", "classifier")
TOLD_A_CLASS = ("cfg", "cfg_interval", "cfg_rescale", "apg")
UNTOLD = "classifier_guided"  # its denoiser knows no class
GIVEN = "stable_diffusion"  # nothing is trained there, and so no second model either
EXPERIMENTS = {
    path.stem: own
    for path in sorted((CONF / "experiment").glob("*.yaml"))
    if path.stem != GIVEN and (own := yaml.safe_load(path.read_text())).get("base") != ""  # of a pipeline
}


# Each kind of study: told a class, a text, nothing, a hint; the rest are asked about what is named here.
KINDS = ("cfg_latent", "cfg_latent_text", UNTOLD, "controlnet_circles")
NAMED = (*EVERYWHERE, *TOLD_A_CLASS)


def repeats(study: str, guidance: str) -> bool:
    """Whether it is likely to be right where others are: the study, or the guidance with another."""
    few = NAMED if study in ("cfg_latent_text", "controlnet_circles") else ("cfg", "classifier")
    return study not in ("cfg_latent", UNTOLD) and guidance not in few


@pytest.mark.parametrize(
    ("experiment", "guidance"),
    [
        pytest.param(study, name, marks=pytest.mark.slow if repeats(study, name) else ())
        for study in EXPERIMENTS
        for name in (GUIDANCES if study in KINDS else NAMED)
    ],
)
def test_every_guidance_goes_with_every_study_or_says_what_to_use(experiment, guidance):
    told, argv = [], [f"experiment={experiment}", f"guidance={guidance}"]
    if EXPERIMENTS[experiment].get("metrics", {}).get("every"):
        argv.append("metrics.every=0")  # no second model is there while another trains
    try:
        (cfg,) = check(argv, CONF, NAMES) or [{}]
    except ConfigError as error:
        told = error.lines
    else:
        assert cfg["guidance"]["_target_"] == GUIDANCES[guidance]["_target_"]
    assert all("use " in line or "say which" in line for line in told), told
    assert not told or guidance not in (*EVERYWHERE, *(TOLD_A_CLASS if experiment != UNTOLD else ()))
    assert experiment != UNTOLD or told or guidance not in TOLD_A_CLASS
