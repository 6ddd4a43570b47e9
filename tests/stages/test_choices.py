"""Choices that a run took without naming them."""

import pytest
import yaml

from condiff.reports.runs import Run, differences
from condiff.stages.choices import CONF, with_choices

GROUPS = ("guidance", "sampler")


def choices():
    for group in GROUPS:
        for path in sorted((CONF / group).glob("*.yaml")):
            node = yaml.safe_load(path.read_text())
            if "defaults" not in node:
                yield group, path.stem, node


FOUND = [*choices()]


@pytest.mark.parametrize(
    ("group", "name", "node"), FOUND, ids=[f"{group}={name}" for group, name, _ in FOUND]
)
def test_each_choice_is_known_by_what_it_sets(group, name, node):
    assert with_choices(Run({group: node}, {}, {})).resembles == {group: name}


def test_the_cases_are_all_guidances_and_samplers():
    assert len(FOUND) > 40


def test_a_choice_is_known_though_a_value_of_it_was_changed():
    node = {"_target_": "condiff.diffusion.samplers.DDIM", "steps": 7, "eta": 0.0}
    node["grid"] = {"_target_": "condiff.diffusion.grids.Leading", "offset": 1}
    assert with_choices(Run({"sampler": node}, {}, {})).resembles == {"sampler": "ddim_leading"}


def test_what_is_as_near_to_two_choices_or_of_no_known_class_is_left_open(tmp_path):
    (tmp_path / "a").mkdir()
    for name, scale in (("one", 1), ("two", 2)):
        (tmp_path / "a" / f"{name}.yaml").write_text(f"_target_: x.Y\nscale: {scale}\n")
    for node in ({"_target_": "x.Y", "scale": 3}, {"_target_": "x.Z", "scale": 1}):
        assert with_choices(Run({"a": node}, {}, {}), tmp_path).resembles == {}
    assert with_choices(Run({"a": {"_target_": "x.Y", "scale": 2}}, {}, {}), tmp_path).resembles == {
        "a": "two"
    }


def test_a_guidance_that_was_left_at_its_default_has_the_name_that_a_user_would_type():
    nodes = [
        yaml.safe_load((CONF / "guidance" / f"{name}.yaml").read_text()) for name in ("cfg", "cfg_interval")
    ]
    runs = [
        Run({"guidance": {**nodes[0], "scale": 3.0}}, {}, {}, ("guidance.scale=3",)),
        Run({"guidance": nodes[1]}, {}, {}, ("guidance=cfg_interval",)),
    ]
    assert differences(runs)["guidance"] == ["ClassifierFree", "cfg_interval"]
    assert differences([with_choices(run) for run in runs])["guidance"] == ["cfg", "cfg_interval"]
