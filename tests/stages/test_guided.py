"""What a report says of the guidance of a study, and of what its training dropped."""

import pytest
from choices import choices

from condiff.stages.guided import guided

TOLD = {
    "apg": ("AdaptiveProjected", "s = 4, w = s − 1 = 3"),
    "autoguidance": ("AutoGuidance", "s = 2, w = s − 1 = 1"),
    "cfg": ("ClassifierFree", "s = 2, w = s − 1 = 1"),
    "cfg_constant": ("ScheduledScale", "s = 2 (constant), w = s − 1 = 1"),
    "cfg_cosine": ("ScheduledScale", "s = 1 to 3 (cosine), w = s − 1 = 0 to 2"),
    "cfg_linear": ("ScheduledScale", "s = 1 to 3 (linear), w = s − 1 = 0 to 2"),
    "cfg_monotone": ("ScheduledScale", "s = 1 to 3 (monotone), w = s − 1 = 0 to 2"),
    "cfg_power": ("ScheduledScale", "s = 1 to 4 (power), w = s − 1 = 0 to 3"),
    "cfg_interval": ("ClassifierFreeInterval", "s = 2, w = s − 1 = 1"),
    "chain": ("Interval of ClassifierFree, then Rescale of NoGuidance", "s = 2, w = s − 1 = 1"),
    "classifier": ("Classifier", "s = 1, w = s − 1 = 0"),
    "composition": ("Composition", "own scale 2; scales -1"),
    "none": ("NoGuidance", ""),
    "text_and_image_digits": ("TextAndImage", "text scale 1.5; image scale 1.5"),
    "text_and_image": ("TextAndImage", "text scale 7.5; image scale 1.5"),
}
CHOICES = choices("guidance")


@pytest.mark.parametrize("name", TOLD)
def test_a_report_names_a_guidance_and_its_scales(name):
    told = guided(CHOICES[name])
    assert (told.name, told.strength()) == TOLD[name]


def test_no_guidance_but_none_is_told_without_a_scale():
    told = {name: guided(node) for name, node in CHOICES.items()}
    assert [name for name, rule in told.items() if not rule.strength() or rule.shown() == "–"] == ["none"]
    assert len(told) >= 24


def test_a_report_tells_the_scales_of_all_rules_of_a_chain_in_their_order():
    told = guided({**CHOICES["chain"], "links": [CHOICES["text_and_image"], CHOICES["cfg_linear"]]})
    assert told.name == "TextAndImage, then ScheduledScale"
    assert told.shown() == "7.5; 1.5; 1 to 3"
    assert told.strength() == "text scale 7.5; image scale 1.5; s = 1 to 3 (linear), w = s − 1 = 0 to 2"


def test_words_that_samples_are_led_away_from_are_told_beside_the_scale():
    def led_away(negative):
        return guided({**CHOICES["cfg"], "negative": negative}).led_away()

    assert guided(CHOICES["cfg"]).led_away() == led_away("") == ""
    assert led_away("on black") == "away from 'on black'"
    assert led_away([*"abcdefg"]) == "away from 'a', 'b', 'c', 'd', 'e' and 2 more"
    told = guided({**CHOICES["cfg"], "negative": "grey"})
    assert (told.strength(), told.shown()) == ("s = 2, w = s − 1 = 1", "2")


def test_a_falling_scale_is_told_from_its_start_and_a_scale_by_default_too():
    falling = {**CHOICES["cfg_linear"]["schedule"], "start": 4.0, "end": 0.5}
    told = guided({**CHOICES["cfg_linear"], "schedule": falling})
    assert told.strength() == "s = 4 to 0.5 (linear), w = s − 1 = 3 to -0.5"
    left_out = {key: value for key, value in CHOICES["composition"].items() if key != "own_scale"}
    assert guided(left_out).strength() == "own scale 1; scales -1"
