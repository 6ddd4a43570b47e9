"""Choices that do not fit together are refused with both keys; those that do are not."""

from typing import Any

import pytest

from condiff.config.kinds import wrong_kinds
from condiff.config.needed_stages import with_needed_stages
from condiff.config.network_rules import what_is_compared_has_one_shape
from condiff.config.rules import unknown_stages
from condiff.config.validate import check_object
from tests.config.nodes import of, told

GUIDANCE = "condiff.diffusion.guidance"
SAMPLERS = "condiff.diffusion.samplers"


LABEL = of("conditioners.label", "ClassLabel")


def test_eps_is_refused_where_no_signal_is_left():
    flow, cosine = of("diffusion.process", "RectifiedFlow"), of("diffusion.process", "CosineVP")
    eps, v = of("diffusion.parameterization", "Epsilon"), of("diffusion.parameterization", "V")
    assert told(process=flow, objective={"parameterization": eps}) == [
        "objective.parameterization: Epsilon cannot be read back where process RectifiedFlow has no signal"
        " left; use objective=velocity or v"
    ]
    assert told(process=flow, objective={"parameterization": v}) == []
    assert told(process=cosine, objective={"parameterization": eps}) == []


def guided(guidance: dict[str, Any], drop: float, conditioner: Any = LABEL) -> list[str]:
    method = of("methods.diffusion", "Diffusion", drop_condition=drop)
    return told(guidance=guidance, method=method, conditioner=conditioner)


def test_guidance_needs_a_model_trained_with_dropped_conditions():
    free = of("diffusion.guidance", "ClassifierFree", scale=2.0)
    (line,) = guided(free, drop=0.0)
    assert line.startswith("guidance.scale: ClassifierFree needs")
    assert "method.drop_condition" in line
    assert guided(free, drop=0.1) == []
    assert guided({**free, "scale": 1.0}, drop=0.0) == []
    assert guided(of("diffusion.guidance", "NoGuidance"), drop=0.0) == []


def test_a_guidance_inside_another_needs_its_null_too():
    free = of("diffusion.guidance", "ClassifierFree", scale=2.0)
    interval = of("diffusion.guidance", "Interval", low=0.1, high=1.0, inner=free)
    chain = of("diffusion.guidance", "Chain", links=[interval])
    assert [line.split(":")[0] for line in guided(interval, 0.0)] == ["guidance.inner.scale"]
    assert [line.split(":")[0] for line in guided(chain, 0.0)] == ["guidance.links[0].inner.scale"]


def test_guidance_needs_a_condition():
    (line,) = guided(of("diffusion.guidance", "ClassifierFree", scale=2.0), drop=0.1, conditioner=None)
    assert "conditioner is null" in line


@pytest.mark.parametrize(("size", "fits"), [(32, True), (8, True), (30, False), (36, False), (None, True)])
def test_a_size_is_halved_evenly_by_autoencoder_and_network(size, fits):
    lines = told(
        data={"_target_": "condiff.data.image_folder.ImageFolder", "size": size},
        autoencoder={"network": of("autoencoders.compact", "CompactKL", downsampling=4)},
        network=of("networks.unet", "UNet", widths=[8, 16], attention=[False, False]),
    )
    said = f"data.size: must be a multiple of 8 (autoencoder 4 x network 2), got {size}"
    assert lines == ([] if fits else [said])


def test_sides_of_buckets_are_halved_evenly_too_and_metrics_want_one_shape():
    folder = {"_target_": "condiff.data.image_folder.ImageFolder", "size": 64}
    first = {"network": of("autoencoders.compact", "CompactKL", downsampling=4)}
    net = of("networks.unet", "UNet", widths=[8, 16], attention=[False, False])
    (said,) = told(data={**folder, "buckets": 4}, autoencoder=first, network=net)
    assert said == "data.buckets: must be a multiple of 8 (autoencoder 4 x network 2), got 4"
    assert told(data={**folder, "buckets": 8}, autoencoder=first, network=net) == []
    (said,) = what_is_compared_has_one_shape(
        {"data": {**folder, "buckets": 8}, "stages": ["data", "metrics"]}
    )
    assert said.startswith("data.buckets: gives pictures of many shapes, and stage metrics wants one")
    assert [*what_is_compared_has_one_shape({"data": folder, "stages": ["metrics"]})] == []


def test_a_size_or_a_factor_that_is_wrong_by_itself_is_told_by_itself_alone():
    own = {
        "network": of("autoencoders.compact", "CompactKL"),
        "method": {"adversary": {"halvings": 4}},
        "optimizer": {},
        "trainer": {},
    }
    study = {"autoencoder": own, "stages": ["autoencoder"]}
    assert told(data=of("data.mnist", "Mnist", size=18), **study) == []
    uneven = told(data={"size": 18}, **study)
    assert uneven == ["data.size: must be a multiple of 4 (autoencoder 4), got 18"]
    (small,) = told(data={"size": 20}, **study)
    assert small.startswith("autoencoder.method.adversary.halvings: 4 needs pictures of at least 48 pixels")
    odd = {"network": of("autoencoders.compact", "CompactKL", downsampling=3)}
    assert told(data=of("data.mnist", "Mnist", size=32), autoencoder=odd) == []
    _, mistakes = check_object(odd["network"], "autoencoder.network")
    assert mistakes == ["autoencoder.network.downsampling: must be one of 2, 4, 8, 16, got 3"]


def test_a_downsampling_is_its_default_or_counted_from_the_widths():
    data, network = {"size": 12}, of("networks.unet", "UNet", widths=[16] * 3, attention=[False] * 3)
    compact = {"network": of("autoencoders.compact", "CompactKL")}
    assert (
        "multiple of 16 (autoencoder 4 x network 4)"
        in told(data=data, autoencoder=compact, network=network)[0]
    )
    counted = {"network": {"widths": [1, 2, 3, 4]}}
    assert "(autoencoder 8 x network 1)" in told(data=data, autoencoder=counted)[0]
    assert told(data=data, autoencoder=None, network=network) == []


def test_ends_must_be_in_order():
    linear = of("diffusion.process", "LinearDDPM", beta_start=0.02, beta_end=0.02)
    assert told(process=linear) == ["process.beta_start: must be below process.beta_end=0.02, got 0.02"]
    past_default = of("diffusion.process", "VarianceExploding", sigma_min=90)
    assert told(process=past_default) == ["process.sigma_min: must be below process.sigma_max=80, got 90"]
    assert told(process=of("diffusion.process", "LinearDDPM")) == []
    part = of("diffusion.guidance.intervals", "TrajectoryInterval", start=0.8, stop=0.2)
    assert "guidance.start: must be below guidance.stop=0.2, got 0.8" in told(guidance=part)
    interval = of(
        "diffusion.guidance", "Interval", low=3, high=2, inner=of("diffusion.guidance", "NoGuidance")
    )
    assert told(guidance=interval) == ["guidance.low: must be below guidance.high=2, got 3"]


def test_the_levels_of_a_network_agree():
    network = of("networks.unet", "UNet", widths=[8, 12], attention=[True], norm_groups=8, head_width=8)
    assert [line.split(":")[0] for line in told(network=network)] == ["network.attention", "network.widths"]
    assert told(network={**network, "widths": [8, 16], "attention": [True, False]}) == []
    narrow = told(network={**network, "widths": [8, 8], "attention": [False, False], "head_width": 16})
    assert narrow == ["network.head_width: must be at most 8, a width that attends, got 16"]
    for widths in ([], [0, 8]):
        assert "network.widths: must be integers >= 1" in " ".join(
            told(network={**network, "widths": widths})
        )


def test_a_sampler_has_no_more_steps_than_a_discrete_process():
    linear = of("diffusion.process", "LinearDDPM", num_steps=50)
    assert told(process=linear, sampler=of("diffusion.samplers", "DDIM", steps=51)) == [
        "sampler.steps: must be at most process.num_steps=50, got 51"
    ]
    assert told(process=linear, sampler=of("diffusion.samplers", "DDIM", steps=50)) == []
    assert (
        told(
            process=of("diffusion.process", "CosineVP"), sampler=of("diffusion.samplers", "DDIM", steps=5000)
        )
        == []
    )


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\0b", "", "x" * 81, "-rf", ".", "..", ".hidden", "a b", "a\n", "\u00e9"]
)
def test_a_name_leads_nowhere_else(name):
    assert [line.split(":")[0] for line in told(name=name)] == ["name"]


@pytest.mark.parametrize("name", ["a", "cfg_latent", "A-1.5_x", "x" * 80, "0"])
def test_a_plain_name_is_fine(name):
    assert told(name=name) == []


def test_a_stage_has_its_parts():
    process = of("diffusion.process", "CosineVP")
    lines = told(
        stages=["denoiser", "latents"], data={}, process=process, objective={}, network={}, method={}
    )
    assert [line.split(":")[0] for line in lines] == ["autoencoder", "conditioner", "optimizer", "trainer"]
    assert told(stages=["report"], conditioner=None) == []


def test_stages_are_known_and_named_once():
    known = ("data", "denoiser", "samples")
    assert list(unknown_stages({"stages": ["data", "samples"]}, known)) == []
    assert list(unknown_stages({"stages": ["data", "smaples", "data"]}, known)) == [
        "stages[1]: must be one of data, denoiser, samples, got 'smaples'; did you mean 'samples'?",
        "stages[2]: data is named twice",
    ]
    assert list(unknown_stages({"stages": []}, known)) == [
        "stages: must name at least one of data, denoiser, samples, got []"
    ]


def test_each_part_is_of_its_kind():
    swapped = {
        "guidance": of("diffusion.samplers", "DDIM", steps=3),
        "sampler": of("diffusion.guidance", "NoGuidance"),
        "network": of("evaluation.judge", "Judge"),
        "data": of("networks.unet", "UNet"),
        "autoencoder": {"network": of("networks.unet", "UNet")},
        "objective": {"times": of("diffusion.weights", "Unit"), "weight": of("diffusion.times", "Uniform")},
    }
    lines = list(wrong_kinds(swapped))
    assert [line.split(":")[0] for line in lines] == [
        "guidance._target_",
        "sampler._target_",
        "network._target_",
        "data._target_",
        "autoencoder.network._target_",
        "objective.times._target_",
        "objective.weight._target_",
    ]
    assert "sampler._target_: must be a Sampler, got condiff.diffusion.guidance.NoGuidance" in lines


def test_an_object_inside_a_guidance_is_a_guidance():
    interval = of("diffusion.guidance", "Interval", low=1, high=2, inner=of("diffusion.grids", "UniformTime"))
    chain = of("diffusion.guidance", "Chain", links=[of("diffusion.grids", "Karras"), interval])
    assert [line.split(":")[0] for line in wrong_kinds({"guidance": chain})] == [
        "guidance.links[0]._target_",
        "guidance.links[1].inner._target_",
    ]


def test_a_guidance_that_a_study_cannot_serve_is_refused_before_it_runs():
    cosine, flow = of("diffusion.process", "CosineVP"), of("diffusion.process", "RectifiedFlow")
    zero = of("diffusion.guidance.zero_star", "ClassifierFreeZeroStar", scale=2.0)
    assert told(guidance=zero, process=cosine, conditioner=LABEL) == [
        "guidance: ClassifierFreeZeroStar needs a flow, and process is CosineVP;"
        " use process=rectified_flow, or guidance=cfg"
    ]
    assert told(guidance=zero, process=flow, conditioner=LABEL) == []
    cut = of("diffusion.guidance.corrections", "DynamicThreshold", inner=zero)
    (line,) = told(guidance=cut, stages=["latents"], autoencoder={}, conditioner=LABEL)
    assert line.startswith("guidance: DynamicThreshold works on pixels, and this study has a stage latents")
    both = of("diffusion.guidance.conditions", "TextAndImage", text_scale=7.5, image_scale=1.5)
    (line,) = told(guidance=both, conditioner=LABEL)
    assert line.startswith("guidance: TextAndImage needs the condition concat, which conditioner ClassLabel")


def test_a_guidance_brings_the_stage_that_trains_its_second_model():
    weaker = of("diffusion.guidance.references", "AutoGuidance", scale=2.0)
    gradient = of("diffusion.guidance.classifier", "Classifier", scale=1.0)
    chain = of("diffusion.guidance", "Chain", links=[weaker, gradient])
    plain = of("diffusion.guidance", "NoGuidance")
    study = ["denoiser", "samples"]
    assert with_needed_stages({"stages": study, "guidance": chain}) == [*study, "weaker", "classifier"]
    assert with_needed_stages({"stages": [*study, "weaker"], "guidance": weaker}) == [*study, "weaker"]
    assert with_needed_stages({"stages": study, "guidance": plain}) == study
    assert with_needed_stages({"stages": ["denoiser"], "guidance": weaker}) == ["denoiser"]
    lines = told(stages=["denoiser", "samples", "weaker"], weaker=None)
    assert "weaker: is null, and stage weaker needs it; choose one, weaker=NAME" in lines


def test_a_size_is_halved_evenly_by_the_networks_beside_the_denoiser_too():
    network = of("networks.unet", "UNet", widths=[8, 16], attention=[False, False])
    deep = of("networks.noisy_classifier", "HalfUNet", widths=[16] * 4, attention=[False] * 4)
    data = {"_target_": "condiff.data.image_folder.ImageFolder", "size": 12}
    assert told(data=data, network=network) == []
    (line,) = told(data=data, network=network, stages=["classifier"], classifier={"network": deep})[-1:]
    assert line == "data.size: must be a multiple of 8 (autoencoder 1 x network 8), got 12"
    unused = told(data=data, network=network, classifier={"network": deep})
    assert unused == []  # a study that trains no classifier does not ask what it could read


@pytest.mark.parametrize(
    ("guidance", "good", "bad", "hint"),
    [
        (
            "plusplus.ClassifierFreePlusPlus",
            "samplers.DDIM",
            "samplers.Heun",
            "adds another noise again than it takes away; use sampler=ddim, ddpm, euler or dpmpp_2m",
        ),
        (
            "classifier.ClassifierMean",
            "ancestral.AncestralLarge",
            "samplers.DDIM",
            "moves the mean of an ancestral step; use sampler=ancestral, or guidance=classifier",
        ),
    ],
)
def test_a_sampler_that_cannot_follow_a_guidance_is_refused_with_one_that_can(guidance, good, bad, hint):
    asked = of("diffusion.guidance", guidance, scale=0.5)
    assert told(guidance=asked, sampler=of("diffusion", good, steps=9), conditioner=LABEL) == []
    (line,) = told(guidance=asked, sampler=of("diffusion", bad, steps=9), conditioner=LABEL)
    assert line == (
        f"guidance: {guidance.split('.')[1]} cannot be followed by {bad.split('.')[1]}: it {hint}"
    )


def test_the_grids_of_a_chain_need_a_process_that_is_one():
    ddim = of("diffusion.samplers", "DDIM", steps=9, grid=of("diffusion.grids", "Leading"))
    assert told(sampler=ddim, process=of("diffusion.process", "LinearDDPM")) == []
    (line,) = told(sampler=ddim, process=of("diffusion.process", "CosineVP"))
    assert line.startswith("sampler.grid: Leading needs a process of discrete steps, and process is CosineVP")


def test_only_a_rule_that_is_plain_at_scale_one_needs_no_null_there():
    assert guided(of("diffusion.guidance.projected", "AdaptiveProjected", scale=1), drop=0) == []
    for rule in ("plusplus.ClassifierFreePlusPlus", "zero_star.ClassifierFreeZeroStar"):
        (line,) = guided(of("diffusion.guidance", rule, scale=1), drop=0)
        assert "needs a model trained with dropped conditions" in line


def test_a_learned_variance_needs_a_network_that_learns_one():
    learned = of("diffusion.ancestral", "AncestralLearned", steps=9)
    unet = of("networks.unet", "UNet", widths=[16], attention=[False])
    needs = "sampler: AncestralLearned needs a network that learns a variance, and"
    for network in (unet, {**unet, "learned_variance": False}):
        assert told(sampler=learned, network=network) == [
            f"{needs} network.learned_variance is false;"
            " use network.learned_variance=true, or sampler=ancestral"
        ]
    assert told(sampler=learned, network={**unet, "learned_variance": True}) == []
    assert told(sampler=of("diffusion.ancestral", "AncestralSmall", steps=9), network=unet) == []
    (line,) = (
        line
        for line in told(sampler=learned, network=of("networks.attention", "PerturbedSelfAttention"))
        if line.startswith("sampler")
    )
    assert line == (
        f"{needs} network is PerturbedSelfAttention, which cannot;"
        " use network=unet network.learned_variance=true, or sampler=ancestral"
    )


def test_patches_count_where_a_size_is_halved():
    network = of("networks.unet", "UNet", widths=[8, 16], attention=[False, False], patch=4)
    picture = {"_target_": "condiff.data.image_folder.ImageFolder", "size": 36}
    (line,) = told(data=picture, autoencoder=None, network=network)
    assert line == "data.size: must be a multiple of 8 (autoencoder 1 x network 8), got 36"
    odd = {"network": of("networks.noisy_classifier", "HalfUNet", widths=[8], attention=[False], patch=3)}
    stages = ["denoiser", "classifier"]
    lines = told(data=picture, network=network, classifier=odd, stages=stages)
    assert "data.size: must be a multiple of 24 (autoencoder 1 x network 24), got 36" in lines
    assert told(data={**picture, "size": 40}, autoencoder=None, network=network) == []
