"""What a study must give its guidance, and what is given to none."""

from typing import Any

import pytest
from composed import told

from condiff.config.nodes import module_constant
from condiff.config.rules import RULES
from condiff.diffusion.samplers import ASIDES
from tests.config.nodes import of
from tests.config.nodes import told as misfits

STUDY = "experiment=cfg_latent"


def said(setting: str, part: str, guidance: str) -> str:
    return (
        f"{setting}: has no effect, as this study draws no samples that need stage {part};"
        f" use guidance={guidance}, or leave {part} out"
    )


@pytest.mark.parametrize(
    ("setting", "part", "guidance"),
    [
        ("weaker=narrow", "weaker", "autoguidance"),
        ("weaker.trainer.steps=100", "weaker", "autoguidance"),
        ("classifier=half_unet", "classifier", "classifier"),
        ("classifier.method.smoothing=0.1", "classifier", "classifier"),
    ],
)
def test_a_second_model_that_no_guidance_needs_is_refused(setting, part, guidance):
    assert told(STUDY, setting) == (said(setting, part, guidance),)
    assert told(STUDY, setting, f"guidance={guidance}") == ()
    assert told(STUDY, setting, f"guidance={guidance}", "stages=[data,denoiser]") == (
        said(setting, part, guidance),
    )


def test_a_second_model_inside_a_rule_counts():
    assert told(STUDY, "classifier=half_unet", "guidance=classifier_interval") == ()


def test_the_defaults_and_what_is_taken_away_are_no_choice():
    assert told(STUDY) == ()
    assert told(STUDY, "guidance=autoguidance") == ()
    assert told(STUDY, "~classifier") == ()


def test_a_sweep_may_have_runs_that_do_without():
    sweep = ("-m", STUDY, "weaker=short,narrow")
    assert told(*sweep, "guidance=cfg,autoguidance") == ()
    assert told(*sweep, "guidance=cfg,none") == (said("weaker=short,narrow", "weaker", "autoguidance"),)


def test_another_mistake_is_told_without_one_that_may_follow_from_it():
    (line,) = told(STUDY, "weaker=narrow", "guidance=autogidance")
    assert line.startswith("guidance=autogidance: no such choice; did you mean 'autoguidance'?")


@pytest.mark.parametrize(
    ("target", "name", "said"),
    [
        ("Chain", "links", "guidance, got []; for no guidance use guidance=none"),
        ("conditions.Composition", "scales", "scale of another class, got []; for the sample's own class"),
        ("references.PerturbedAttention", "layers", "part of the name of a layer, got []; for the middle"),
    ],
)
def test_a_guidance_made_of_nothing_is_refused_where_it_is_made(target, name, said):
    empty = {"_target_": f"condiff.diffusion.guidance.{target}", "labels": [], name: []}
    inside = {"_target_": "condiff.diffusion.guidance.Interval", "inner": empty}
    for path, guidance in (("guidance", empty), ("guidance.inner", inside)):
        cfg = {"guidance": guidance, "conditioner": {"_target_": "condiff.conditioners.label.ClassLabel"}}
        (line,) = (line for rule in RULES for line in rule(cfg))
        assert line.startswith(f"{path}.{name}: must name at least one {said}")


def test_what_a_guidance_asks_of_a_step_is_told_in_the_words_of_the_samplers():
    assert module_constant("condiff.diffusion.samplers", "ASIDES") == ASIDES


UNTOLD = of("conditioners.unconditional", "Unconditional")


def refused(guidance: dict[str, Any], drop: float) -> list[str]:
    """Of a denoiser that is told nothing."""
    method = of("methods.diffusion", "Diffusion", drop_condition=drop)
    return misfits(guidance=guidance, method=method, conditioner=UNTOLD)


def test_a_denoiser_that_is_told_nothing_has_nothing_to_be_dropped_or_led_away_from():
    none = of("diffusion.guidance", "NoGuidance")
    assert refused(none, 0.0) == []
    assert refused(of("diffusion.guidance.classifier", "Classifier", scale=3.0), 0.0) == []
    assert refused(none, 0.1) == [
        "method.drop_condition: must be 0 where conditioner is Unconditional, which tells the denoiser"
        " nothing, got 0.1"
    ]
    (line,) = refused(of("diffusion.guidance", "ClassifierFree", scale=2.0), 0.0)
    assert line.startswith("guidance.scale: ClassifierFree needs a denoiser that is told its condition")
    (line,) = refused(of("diffusion.guidance.conditions", "Negative", scale=2.0, label=1), 0.0)
    assert line.startswith("guidance: Negative has no effect where conditioner is Unconditional")
    (line,) = refused(of("diffusion.guidance.classifier", "Classifier", scale=3.0, base="condition"), 0.0)
    assert line.startswith("guidance.base: condition has no effect where conditioner is Unconditional")
    tokens = of("networks.unet", "CrossAttentionUNet", widths=[16], attention=[True])
    (line,) = misfits(conditioner=UNTOLD, network=tokens)
    assert line.startswith("network: CrossAttentionUNet has nothing to attend to")
