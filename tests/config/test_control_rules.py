"""What a ControlNet and hints of one's own ask of a study, and what is refused in one line."""

import pytest
from choices import CONF

from condiff.config.compose import check
from condiff.config.control_rules import control_is_of_a_controlnet, found_unasked, hints_are_heard
from condiff.config.origins import not_drawn_with
from condiff.config.text_rules import metrics_are_told_what_they_read
from tests.config.nodes import of
from tests.config.pipelines import SD, left

CONTROLNET = {"tuning": of("adapters.controlnet", "ControlNet"), "control": of("adapters.control", "Even")}
LORA = {"tuning": of("adapters.low_rank", "LowRank", kinds=["linear"])}
STUDY = {"stages": ["data", "denoiser", "adapter", "samples"], "adapter": CONTROLNET}
IOU = {"iou": of("evaluation.circles", "DiscIoU")}
RULES = (control_is_of_a_controlnet, hints_are_heard, metrics_are_told_what_they_read)


def told(**changes):
    return [line for rule in RULES for line in rule({**STUDY, **changes})]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"adapter": {**CONTROLNET, "control": None}}, "adapter.control: is null, and ControlNet needs it"),
        (
            {"adapter": {**LORA, "control": CONTROLNET["control"]}},
            "adapter.control: has no effect with LowRank; choose a ControlNet with adapter=controlnet",
        ),
        (
            {"adapter": {**CONTROLNET, "control": {**CONTROLNET["control"], "start": 0.9, "end": 0.1}}},
            "adapter.control.start: must be below adapter.control.end=0.1, got 0.9",
        ),
        ({"prior": {"num": 3}}, "prior: what the base draws has no hints, which ControlNet reads"),
        ({"control": "a", "adapter": LORA}, "control: has no effect without a ControlNet; choose a"),
        ({"control": "a", "stages": ["data"]}, "control: has no effect here, where nothing is drawn"),
        (
            {"control": "a", "stages": [*STUDY["stages"], "metrics"]},
            "control: samples are measured against held-out pictures",
        ),
        (
            {"adapter": LORA, "metrics": IOU, "stages": [*STUDY["stages"], "metrics"]},
            "metrics.iou: compares samples with hints, which only a study with a ControlNet has",
        ),
    ],
)
def test_what_does_not_fit_a_controlnet_is_one_line(changes, line):
    (said,) = told(**changes)
    assert said.startswith(line)


def test_what_fits_is_not_refused():
    assert told() == []
    assert told(control=".") == []
    assert told(control=[".", "~"]) == []
    assert told(metrics=IOU, stages=[*STUDY["stages"], "metrics"]) == []
    assert told(adapter=LORA, control=".", adapters=["run:0.5"]) == []


def test_hints_that_are_not_there_are_told_before_anything_is_loaded():
    said = "control: no/where is not there; give a picture, or a folder of them"
    assert told(control="no/where") == told(control=[".", "no/where"]) == [said]


def test_a_finished_controlnet_is_drawn_with_in_any_way():
    settings = ("control", "adapter.control.start", "adapter.scale")
    assert [*not_drawn_with([(key, f"{key}=1") for key in settings])] == []
    (line,) = not_drawn_with([("adapter.controls", "adapter.controls=1")])
    assert line.startswith("adapter.controls=1: has no effect on task=sample")
    assert line.endswith("; did you mean 'adapter.control'?")
    (line,) = not_drawn_with([("adapter.tuning.rank", "adapter.tuning.rank=1")])
    assert line.endswith("; leave it out")
    (line,) = not_drawn_with([("adapter", "adapter=controlnet_guess")])
    assert line == (
        "adapter=controlnet_guess: is written"
        " adapter.control._target_=condiff.adapters.control.GuessOriginal with task=sample"
    )


def test_of_a_stable_diffusion_the_numbers_are_the_published_ones(tmp_path):
    """tutorial_train.py and docs/train.md of Zhang 2023: sd_locked=False is for a fifth of the rate."""
    base = f"base={left(tmp_path, SD)}"
    for choice, rate in (("controlnet_sd", 1e-5), ("controlnet_sd_unlocked", 2e-6)):
        own = (f"adapter={choice}", base, "data.pictures.path=pictures")
        (cfg,) = check(["experiment=controlnet_sd15", *own], CONF) or []
        adapter = cfg["adapter"]
        assert (adapter["optimizer"]["lr"], adapter["method"]["drop_condition"]) == (rate, 0.5)
        assert adapter["tuning"]["_target_"].endswith("Unlocked" if "unlocked" in choice else "ControlNet")
        assert adapter["optimizer"]["warmup"] == 0


def test_a_finished_one_is_measured_by_the_study_that_would_train_one(tmp_path):
    """Which then trains nothing: that its file measures on the way is nobody's mistake."""
    words = ("experiment=controlnet", f"base={left(tmp_path, SD)}", "adapter=none", "adapters=[CONTROLNET]")
    (cfg,) = check([*words, "data.pictures.path=PICTURES"], CONF) or []
    assert "adapter" not in cfg["stages"]
    assert "edge_f1" in cfg["metrics"]


def test_what_hints_of_a_folder_are_is_said_by_the_command():
    edges = {"edge_f1": {"_target_": "condiff.evaluation.redetected.EdgeFidelity"}, "every": 0}
    cfg = {
        "stages": ["data", "samples", "metrics"],
        "metrics": edges,
        "data": {"_target_": "condiff.data.hinted_folder.HintedFolder"},
    }
    (line,) = found_unasked([("data", "data=hinted_folder")], [cfg, cfg])
    assert line.startswith("metrics.edge_f1: is of one kind of hint, yours in data.hints may be of another;")
    for own in ("metrics", "metrics.edge_f1", "~metrics.edge_f1"):
        assert [*found_unasked([(own, "")], [cfg])] == []
    for other in (
        {**cfg, "stages": ["data"]},
        {**cfg, "data": {"_target_": "condiff.data.hinted.Hinted"}},
        {**cfg, "metrics": {"x": {"_target_": "condiff.evaluation.clip_score.ClipScore"}}},
    ):
        assert [*found_unasked([], [other])] == []
