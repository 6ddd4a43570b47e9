"""What a study of text must have, and what has no effect without one, told before anything runs."""

import pytest
from composed import checked, told

from condiff.config.kinds import wrong_kinds
from condiff.errors import ConfigError
from condiff.stages.given import weights_are_there
from tests.config.nodes import of as node

TEXT = ("experiment=cfg_latent_text", "logger.wandb=off")
LABEL = ("experiment=cfg_latent", "logger.wandb=off")


def test_a_condition_of_captions_brings_the_stage_that_encodes_them():
    assert (
        "texts"
        in checked(*LABEL, "data=shapes", "conditioner=text", "network=unet_cross_attention")["stages"]
    )
    assert "texts" in checked(*TEXT, "conditioner=label_and_text")["stages"]
    assert "texts" not in checked(*LABEL)["stages"]
    (line,) = told(*LABEL, "stages=[data,texts,autoencoder,latents,denoiser,samples,metrics]")
    assert line.startswith("stages: texts has no captions to encode where conditioner is ClassLabel")


def test_two_encoders_of_a_caption_are_dropped_each_for_itself_and_missed_under_their_own_keys():
    folders = [f"conditioner.parts.{name}.encoder.path=/gone/{name}" for name in ("clip", "t5")]
    cfg = checked(*TEXT, "conditioner=text_clip_t5", *folders, "method.drop_condition=0.464")
    assert cfg["conditioner"]["dropout"] == "independent"
    assert "texts" in cfg["stages"]
    with pytest.raises(ConfigError) as missing:
        weights_are_there(cfg)
    assert [line.partition(": /gone/")[::2] for line in missing.value.lines] == [
        (f"conditioner.parts.{name}.encoder", f"{name} is no folder of a model: it has no config.json")
        for name in ("clip", "t5")
    ]


def test_text_needs_a_network_that_attends_to_it():
    (line,) = [line for line in told(*TEXT, "network=unet") if line.startswith("network: ")]
    assert line.startswith(
        "network: UNet cannot attend to text, which conditioner Text gives; use network=unet_"
    )
    lines = told(*TEXT, "network=unet", "conditioner=label_and_text")
    assert any(line.startswith("network: UNet cannot attend to text") for line in lines)


@pytest.mark.parametrize("data", ["image_folder", "shards", "emoji"])
def test_other_captions_may_take_the_place_of_those_of_shapes(data):
    where = [] if data == "emoji" else ["data.path=/my/pictures"]
    assert told(*TEXT, f"data={data}", *where, "metrics=efficientnet_lite0") == ()


EXCLUSIVE = ("conditioner=label_and_text", "conditioner.dropout=exclusive", "method.drop_condition=0.4")
BOTH = ("conditioner=label_and_text",)
WRONG = [
    ((*LABEL, "guidance.negative=red"), "guidance.negative: has no effect where conditioner is ClassLabel"),
    ((*TEXT, "guidance=none", "guidance.negative=a"), "guidance.negative: has no effect with NoGuidance"),
    (
        (*TEXT, "guidance.scale=1", "guidance.negative=a"),
        "guidance.negative: has no effect at guidance.scale=1, the plain conditional model; use guidance.",
    ),
    ((*TEXT, "guidance.negative=3"), "guidance.negative: must be "),
    (
        (*TEXT, "guidance.negativ=a"),
        "guidance.negativ: no such argument of ClassifierFree; did you mean 'negative'?",
    ),
    ((*TEXT, "guidance.negative=[]"), "guidance.negative: must name at least one, got []; null leads away"),
    (
        (*TEXT, "guidance=negative", "guidance.label=1"),
        "guidance.label: no classes are told apart where conditioner is Text; use guidance=cfg with words",
    ),
    (
        (*TEXT, "guidance=composition", "guidance.labels=[1]", "guidance.scales=[1]"),
        "guidance.labels: no classes are told apart where conditioner is Text",
    ),
    ((*LABEL, "text=red"), "text: has no effect where conditioner is ClassLabel"),
    (
        (*TEXT, *BOTH, "text=red"),
        "label: is that of a held-out picture where text is given alone; give label=",
    ),
    (
        (*TEXT, *BOTH, "label=3"),
        "text: is that of a held-out picture where label is given alone; give text='",
    ),
    ((*TEXT, "label=3"), "label: has no effect where conditioner is Text"),
    ((*TEXT, "text=[]"), "text: must name at least one, got []"),
    ((*LABEL, "label=-1"), "label: must be"),
    (
        ("experiment=instruct_pix2pix", "label=1"),
        "label: LabelAndPicture's true answers are of each picture's",
    ),
    ((*TEXT, *EXCLUSIVE), "method.drop_condition: must be at most 0.333 with conditioner.dropout=exclusive"),
]


@pytest.mark.parametrize(("argv", "begins"), WRONG)
def test_what_cannot_be_or_has_no_effect_is_one_line(argv, begins):
    (line,) = told(*argv)
    assert line.startswith(begins)


def test_a_text_and_a_class_are_asked_for_together_and_classes_are_led_away_from_where_they_are_told():
    cfg = checked(*TEXT, *BOTH, "text=[red,blue]", "label=3")
    assert (cfg["text"], cfg["label"]) == (["red", "blue"], 3)
    assert checked(*TEXT, *BOTH)["text"] is None
    assert checked(*TEXT, *BOTH, "guidance=negative", "guidance.label=1")["guidance"]["label"] == 1


def test_a_negative_text_is_a_key_of_every_guidance_and_is_no_part_of_one_that_has_none():
    for rule in ("cfg", "cfg_interval", "cfg_rescale", "apg"):
        assert checked(*TEXT, f"guidance={rule}", "guidance.negative=a red circle")["guidance"][
            "negative"
        ] == ("a red circle")
        assert "negative" not in checked(*TEXT, f"guidance={rule}")["guidance"]
    assert checked(*TEXT, "guidance.negative=[red,blue]")["guidance"]["negative"] == ["red", "blue"]
    assert "negative" not in checked(*TEXT, "guidance.scale=1", "guidance.negative=null")["guidance"]


def test_the_parts_of_a_condition_are_conditioners_whatever_their_names():
    text, judge = node("conditioners.text", "Text"), node("evaluation.judge", "Judge")
    parts = {"clip": text, "judge": text, "text": judge}
    assert list(wrong_kinds({"conditioner": node("conditioners.several", "Several", parts=parts)})) == [
        "conditioner.parts.text._target_: must be a class of condiff.conditioners, got"
        " condiff.evaluation.judge.Judge"
    ]
