"""What differs between runs, and which of them are one setting."""

import pytest
from run_folders import config_of, metrics_of

from condiff.reports.runs import Run, Setting, differences, estimate, set_by, settings_of, telling
from condiff.reports.values import are_numbers, in_order, said


def made(config, overrides=(), accuracy=0.9, distance=3.0):
    return Run(config, metrics_of(accuracy, distance), {}, overrides)


def test_only_what_differs_and_changes_the_result_is_told():
    runs = [made(config_of(scale, seed)) for scale in (1.0, 2.0) for seed in (0, 1)]
    assert differences(runs) == {"guidance.scale": [1.0, 1.0, 2.0, 2.0]}


def test_a_choice_of_a_group_is_one_difference_by_the_name_the_command_line_gives_it():
    runs = [
        made(config_of(2.0), ["guidance=cfg"]),
        made(config_of(4.0, target="AdaptiveProjected"), ["+guidance=apg", "seed=0"]),
        made(config_of(3.0, target="Interval")),
    ]
    assert differences(runs) == {"guidance": ["cfg", "apg", "Interval"]}
    assert set_by(runs[1], "guidance") == "scale 4"
    assert set_by(runs[1], "guidance", ["guidance.scale"]) == ""


def test_a_run_that_does_not_name_its_choice_has_the_name_of_one_with_the_same_class():
    runs = [
        made(config_of(1.0)),
        made(config_of(2.0), ["guidance=cfg"]),
        made(config_of(2.0, target="AdaptiveProjected"), ["guidance=apg"]),
    ]
    found = differences(runs)
    assert found["guidance"] == ["cfg", "cfg", "apg"]
    assert found["guidance.scale"] == [1.0, 2.0, 2.0]  # it differs between runs of one choice


def test_values_below_two_choices_are_no_difference_beside_them():
    runs = [
        made({**config_of(2.0), "stages": ["a"]}, ["guidance=cfg"]),
        made({**config_of(2.0, target="Rescale"), "stages": ["a", "b"]}, ["guidance=cfg_rescale"]),
    ]
    assert [*differences(runs)] == ["guidance"]


def test_a_group_that_only_some_runs_have_is_a_difference():
    runs = [
        made({**config_of(), "autoencoder": None}),
        made({**config_of(), "autoencoder": {"_target_": "a.Kl"}}),
    ]
    assert differences(runs) == {"autoencoder": [None, "Kl"]}


def test_lists_and_words_are_told_as_text():
    runs = [
        made({**config_of(), "network": {"_target_": "a.U", "widths": w, "a": a}})
        for w, a in (([8], True), ([8, 16], False))
    ]
    assert differences(runs) == {"network.widths": ["[8]", "[8, 16]"], "network.a": ["true", "false"]}


def test_settings_hold_the_runs_of_all_seeds_in_the_order_of_the_numbers():
    runs = [made(config_of(scale, seed), accuracy=seed) for seed in (0, 1) for scale in (10.0, 2.0)]
    settings = settings_of(runs, differences(runs))
    assert [setting.values for setting in settings] == [{"guidance.scale": 2.0}, {"guidance.scale": 10.0}]
    assert [setting.label for setting in settings] == ["scale 2", "scale 10"]
    assert [run.config["seed"] for run in settings[0].runs] == [0, 1]


def test_several_runs_have_a_mean_and_their_deviation_and_one_run_its_interval():
    several = estimate([made(config_of(), distance=value) for value in (3.0, 5.0)], "fd_judge")
    assert several is not None
    assert several.value == 4.0
    assert (several.low, several.high) == pytest.approx((4 - 2**0.5, 4 + 2**0.5))
    assert several.text == "4.0 ± 1.4"
    one = Run({}, metrics_of(0.9, 3.0, interval=0.5), {})
    found = estimate([one], "fd_judge")
    assert found is not None
    assert (found.value, found.low, found.high, found.text) == (3.0, 2.5, 3.5, "3")
    assert estimate([one], "fid") is None


def test_a_mean_has_no_more_digits_than_its_deviation_lets_it_have():
    values = (0.91234, 0.93456)
    found = estimate([made(config_of(), accuracy=value) for value in values], "class_accuracy")
    assert found is not None
    assert found.text == "0.923 ± 0.016"


def test_runs_that_agree_have_no_deviation_to_show():
    found = estimate([made(config_of(), accuracy=0.9) for _ in range(2)], "class_accuracy")
    assert found is not None
    assert found.text == "0.9"


def test_a_number_that_is_not_finite_is_no_number():
    runs = [made(config_of(), distance=value) for value in (3.0, float("nan"), float("inf"))]
    found = estimate(runs, "fd_judge")
    assert found is not None
    assert found.each == (3.0,)
    assert estimate(runs[1:], "fd_judge") is None


def test_a_value_is_named_by_the_last_word_of_its_path():
    assert said("guidance.negative", None) == "no negative"
    assert said("sampler.num_steps", 16.0) == "num steps 16"
    assert said("guidance", "cfg_interval") == "cfg_interval"
    assert said("num_samples", 500) == "num samples 500"


def test_two_settings_with_one_last_word_are_told_apart_by_as_many_words_as_it_takes():
    among = ("guidance.scale", "guidance.inner.scale", "network.scale", "sampler.steps", "scale")
    assert said("guidance.scale", 2.0, among) == "guidance scale 2"
    assert said("guidance.inner.scale", 3.0, among) == "inner scale 3"
    assert said("sampler.steps", 8, among) == "steps 8"
    assert said("scale", 1, among) == "scale 1"
    named = ("guidance.scale", "network.scale")
    setting = Setting(dict(zip(named, (2.0, 3.0), strict=True)), [], named)
    assert setting.label == setting.full == "guidance scale 2, network scale 3"


def test_long_names_are_shortened_to_what_tells_settings_apart_choices_before_numbers():
    runs = []
    for k, (network, sampler) in enumerate([("unet", "ddim"), ("unet", "heun"), ("transformer", "ddim")]):
        config = {**config_of(1.0 + k), "num_samples": 1000 * k, "process": {"_target_": "a.RectifiedFlow"}}
        config["network"] = {"_target_": f"a.{network}", "dropout": k / 10}
        config["sampler"] = {"_target_": f"a.{sampler}", "steps": 16 + k}
        runs.append(made(config, [f"network={network}", f"sampler={sampler}"]))
    settings = settings_of(runs, differences(runs))
    assert [setting.label for setting in settings] == ["ddim, unet", "heun, unet", "ddim, transformer"]
    assert "scale 1" in settings[0].full
    assert "dropout 0" in settings[0].full


def test_one_choice_that_tells_all_apart_names_them_alone():
    table = {"name": ["a", "b", "c"], "sampler": ["x", "y", "x"], "steps": [1, 2, 3]}
    assert telling(table) == ["name"]
    assert telling({"scale": [1, 1, 2], "steps": [8, 16, 8]}) == ["scale", "steps"]
    assert telling({"scale": [1, 2, 3], "steps": [8, 16, 24]}) == ["scale"]
    assert telling({}) == []


def test_short_names_keep_every_value():
    runs = [made(config_of(scale, steps=steps)) for scale in (1.0, 2.0) for steps in (8, 16)]
    settings = settings_of(runs, differences(runs))
    assert [setting.label for setting in settings] == [setting.full for setting in settings]


def test_a_value_set_to_nothing_is_null_and_one_that_is_not_there_is_none():
    """Beside numbers, a null comes after them."""
    nodes = [{"_target_": "g.A", "low": low} for low in (None, 0.5, 0.2)] + [{"_target_": "g.B"}]
    runs = [made({"guidance": node, "seed": 0}) for node in nodes]
    table = differences(runs)
    assert table["guidance.low"] == ["null", 0.5, 0.2, None]
    assert in_order(table["guidance.low"]) == [0.2, 0.5, "null", None]
    assert are_numbers(table["guidance.low"])
    assert said("guidance.low", "null") == "low null"
    assert [run.setting("guidance.low") for run in runs[:2]] == ["null", 0.5]


@pytest.mark.parametrize("name", ["none", "null", "off", "None"])
def test_a_choice_that_reads_as_a_word_is_said_with_its_group(name):
    assert said("guidance", name) == f"guidance={name}"
    assert said("guidance", "cfg") == "cfg"
