"""What a prior asks of its study, what it costs anew, and what is refused of it in one line."""

from functools import cache

import pytest
from composed import checked, told

from condiff.stages.driver import planned_keys
from condiff.stages.study import STAGES

STUDY = ("experiment=lora_digits", "prior=drawn")
TEXT = ("experiment=cfg_latent_text", "adapter=full", "prior=drawn")


@cache
def keys(*argv):
    return planned_keys(checked(*STUDY, *argv))


def changed(*argv):
    """The stages that are made anew with some settings."""
    first, other = keys(), keys(*argv)
    return {stage for stage in first if first[stage] != other[stage]}


@pytest.mark.parametrize(
    ("setting", "stages"),
    [
        ("guidance.scale=3", {"samples", "metrics"}),
        ("adapter.tuning.rank=3", {"adapter", "samples", "metrics"}),
        ("prior.weight=0.5", {"adapter", "samples", "metrics"}),
        ("prior.num=50", {"prior", "adapter", "samples", "metrics"}),
        ("prior.label=4", {"prior", "adapter", "samples", "metrics"}),
        ("prior.sampler.steps=9", {"prior", "adapter", "samples", "metrics"}),
        ("prior.guidance.scale=3", {"prior", "adapter", "samples", "metrics"}),
    ],
)
def test_a_class_is_drawn_again_only_where_its_drawing_changes(setting, stages):
    assert changed(setting) == stages


def test_without_a_prior_no_stage_knows_of_it():
    cfg = checked(STUDY[0])
    assert "prior" not in cfg["stages"]
    assert all("prior" not in stage.seen(cfg) for stage in STAGES if stage.name in cfg["stages"])


def test_a_study_on_latents_encodes_what_was_drawn():
    cfg = checked(*TEXT, "prior.text=a shape")
    assert {"prior", "prior_latents"} < {*cfg["stages"]}
    (adapter,) = (stage for stage in STAGES if stage.name == "adapter")
    assert {"prior", "prior_latents", "latents"} < {*adapter.inputs(dict.fromkeys(cfg["stages"], ""))}


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ((*STUDY, "adapter=none"), "prior: has no effect without an adapter; choose one with adapter=full"),
        ((STUDY[0], "prior.weight=2"), "prior.weight: has no effect without a prior; use prior=drawn, or"),
        ((*STUDY, "prior.num=0"), "prior.num: must be an integer >= 1, got 0"),
        ((*STUDY, "prior.weight=-1"), "prior.weight: must be a number >= 0, got -1"),
        ((*STUDY, "prior.text=a cat"), "prior.text: has no effect where conditioner is ClassLabel, which"),
        ((*STUDY, "adapter.trainer.batch_size=1"), "adapter.trainer.batch_size: must be at least 2 with a"),
        (
            (*STUDY, "guidance@prior.guidance=autoguidance"),
            "prior.guidance: AutoGuidance needs a second model, which a prior is not given; use guidance@",
        ),
        (
            (*STUDY, "guidance=none", "method.drop_condition=0"),
            "prior.guidance.scale: ClassifierFree needs a model trained with dropped conditions, and",
        ),
        (TEXT, "prior.text: is null, and conditioner Text reads one; say what the base is to draw, prior."),
        (
            (*TEXT, "prior.text=a cat", "conditioner=label_and_text"),
            "prior.label: is that of a held-out picture where text is given alone; give label=K, too",
        ),
    ],
)
def test_what_cannot_be_a_prior_is_refused(argv, line):
    (said,) = told(*argv)
    assert said.startswith(line)
