"""The scheduler of an export: a pipeline walks the steps that our sampler walks."""

import pytest
import torch
from choices import choices
from diffusers_loop import NOISE, Bounded, assert_same, ours

from condiff.config.build import build
from condiff.config.schedulers import other_than, scheduler_of
from condiff.diffusion.condition import Condition
from condiff.stages.export import as_in_the_run, otherwise, scheduler, unsaid

PROCESSES = {"linear": {}, "scaled_linear": {"beta_start": 0.0015}, "cosine_ddpm": {}}


def config(process="scaled_linear", objective="eps", sampler="ddim_leading", guidance="cfg", **betas):
    return {
        "process": {**choices("process")[process], **betas},
        "objective": choices("objective")[objective],
        "sampler": choices("sampler")[sampler],
        "guidance": choices("guidance")[guidance],
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


# What of a study is chosen, and how what cannot be exported of it is told.
REFUSED = {
    "text": (
        {"conditioner": "text"},
        ["its conditioner is Text through MiniLM, and no pipeline of diffusers"],
    ),
    "label": (
        {"conditioner": "label"},
        ["its conditioner is ClassLabel, and no pipeline of diffusers tells"],
    ),
    "several": (
        {"conditioner": "text_clip_t5"},
        ["its conditioner is Several, and no pipeline of diffusers"],
    ),
    "network": (
        {"network": "unet_cross_attention"},
        ["its network, CrossAttentionUNet, does not attend to text by the step of"],
    ),
    "process": ({"process": "rectified_flow"}, ["its process is RectifiedFlow and its target Epsilon"]),
    "first stage": ({"autoencoder": "compact_kl"}, ["its first stage, CompactKL, is no AutoencoderKL for"]),
    "nothing": ({}, []),
    "other kin": ({"network": "ldm_f8", "process": "linear"}, []),
}
SHIPPED = {  # choices of sd/text_to_image
    **{"conditioner": "text_clip", "network": "stable_diffusion_1", "process": "scaled_linear"},
    **{"autoencoder": "kl_f8", "objective": "eps"},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_of_a_study_has_no_words_in_a_pipeline_is_told(case, monkeypatch):
    other, said = REFUSED[case]
    cfg = {group: choices(group)[name] for group, name in {**SHIPPED, **other}.items()}
    with torch.device("meta"):
        first = build(cfg["autoencoder"]["network"], "autoencoder.network", channels=3)
    monkeypatch.setattr("condiff.stages.export.load_autoencoder", lambda *_: first)
    made = dict.fromkeys(("data", "autoencoder", "latents", "denoiser"))
    told = [*unsaid(cfg, made)]
    assert len(told) == len(said)
    assert all(own.startswith(start) for own, start in zip(told, said, strict=True)), told
    del made["latents"]
    assert [*unsaid(cfg, made)] == ["it has no denoiser on latents"]


def test_what_has_no_words_in_a_scheduler_has_none():
    assert scheduler_of(config("cosine")) is None
    assert scheduler_of(config(objective="velocity")) is None
    assert scheduler_of(config("cosine_ddpm", offset=0.1)) is None


def test_how_a_run_samples_and_its_pipeline_does_not_is_told():
    for alike in (config(), config(sampler="ddim"), config(guidance="none")):
        assert [*otherwise(alike)] == []
    (line,) = otherwise(config(sampler="ddim_linspace"))
    assert line.startswith("sampler.grid: Linspace is none of a pipeline's; its steps are those of")
    assert scheduler(config(sampler="ddim_linspace")).config["timestep_spacing"] == "leading"
    (line,) = otherwise(config(sampler="dpmpp_2m"))
    assert line.startswith("sampler: is DPMSolverPP2M in the run, and DDIM in the pipeline; use sampler=ddim")
    (line,) = otherwise(config(guidance="cfg_interval"))
    assert line.startswith("guidance: is ClassifierFreeInterval in the run, and classifier-free at one")


def test_what_a_pipeline_is_to_be_told_is_the_runs():
    plain = config()
    assert as_in_the_run(plain) == "num_inference_steps=50, guidance_scale=2, eta=0 (DDIM)"
    plain["guidance"] |= {"scale": 7.5, "negative": ["blurry", "grey"]}
    plain["sampler"] |= {"eta": 0.5}
    assert as_in_the_run(plain) == (
        "num_inference_steps=50, guidance_scale=7.5, negative_prompt=['blurry', 'grey'], eta=0.5 (DDIM)"
    )
    assert "guidance_scale=1," in as_in_the_run(config(guidance="none"))


@pytest.mark.parametrize("process", PROCESSES)
def test_a_config_is_that_of_its_own_scheduler(process):
    cfg = config(process, "v", **PROCESSES[process])
    said = {**scheduler(cfg).config}
    assert [*other_than(cfg, said, "file")] == []
    assert len([*other_than(config("linear", "eps", beta_end=0.1), said, "file")]) == 2


def test_betas_of_their_own_are_refused():
    (line,) = other_than(config(), {"rescale_betas_zero_snr": True}, "file")
    assert line.startswith("network.weights: file has betas of its own")
