"""The scheduler of an export: a pipeline walks the steps that our sampler walks."""

import pytest
import torch
from choices import choices
from diffusers_loop import NOISE, Bounded, assert_same, ours

from condiff.config.build import build
from condiff.config.schedulers import other_than, scheduler_of
from condiff.diffusion.condition import Condition
from condiff.stages.export import scheduler

PROCESSES = {"linear": {}, "scaled_linear": {"beta_start": 0.0015}, "cosine_ddpm": {}}


def config(process="scaled_linear", objective="eps", sampler="ddim_leading", **betas):
    return {
        "process": {**choices("process")[process], **betas},
        "objective": choices("objective")[objective],
        "sampler": choices("sampler")[sampler],
    }


@pytest.mark.parametrize("sampler", ["ddim", "ddim_leading"])
@pytest.mark.parametrize("objective", ["eps", "v", "x0"])
@pytest.mark.parametrize("process", PROCESSES)
def test_a_pipeline_walks_as_the_study_does(process, objective, sampler):
    cfg = config(process, objective, sampler, **PROCESSES[process])
    theirs, own, chain = scheduler(cfg), build(cfg["sampler"], "sampler"), build(cfg["process"], "process")
    target = build(cfg["objective"]["parameterization"], "target")
    theirs.set_timesteps(own.steps)
    nodes, x = own.nodes(chain, NOISE)[:-1], NOISE
    steps = torch.cat([1000 * node.marginal.t.flatten()[:1] - 1 for node in nodes])
    assert theirs.timesteps.tolist() == steps.round().long().tolist()
    for t, node in zip(theirs.timesteps, nodes, strict=True):
        x = theirs.step(Bounded()(x, node.marginal, Condition()), t, x).prev_sample
    assert_same(ours(own, chain, target), x)


def test_what_has_no_words_in_a_scheduler_has_none():
    assert scheduler_of(config("cosine")) is None
    assert scheduler_of(config(objective="velocity")) is None
    assert scheduler_of(config("cosine_ddpm", offset=0.1)) is None


def test_a_grid_that_no_pipeline_walks_is_told(caplog):
    assert scheduler(config(sampler="ddim_linspace")).config["timestep_spacing"] == "leading"
    assert "sampler.grid: Linspace is none of a pipeline's; its steps are those of" in caplog.text


@pytest.mark.parametrize("process", PROCESSES)
def test_a_config_is_that_of_its_own_scheduler(process):
    cfg = config(process, "v", **PROCESSES[process])
    said = {**scheduler(cfg).config}
    assert [*other_than(cfg, said, "file")] == []
    assert len([*other_than(config("linear", "eps", beta_end=0.1), said, "file")]) == 2


def test_betas_of_their_own_are_refused():
    (line,) = other_than(config(), {"rescale_betas_zero_snr": True}, "file")
    assert line.startswith("network.weights: file has betas of its own")
