"""What an adapter asks of its study, and what is refused of it in one line."""

import json
from pathlib import Path

import pytest
import yaml
from choices import CONF
from composed import checked, each, told

from condiff.config.adapter_rules import (
    adapter_is_used,
    base_is_trained_on_its_data,
    finished_adapters_are_named,
    trigger_calls_up,
    with_guess,
    with_scale,
    with_shares,
)
from condiff.config.kinds import wrong_kinds
from condiff.config.validate import check_object
from condiff.stages.driver import planned_keys
from condiff.stages.study import STAGES
from tests.config.nodes import of

FORMS = "give FILE, FILE:SCALE or FILE:SCALE:START-END, of a ControlNet in guess mode and :guess"
STAGED = ["data", "denoiser", "adapter", "samples"]
STUDY, PLAIN = "experiment=lora_digits", "experiment=cfg_latent"
CHOOSE = "choose one with adapter=linear, attention or linear_conv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folders of runs, whose artifacts are only said to be there."""
    root = tmp_path_factory.mktemp("runs")
    ran = {"latent": (PLAIN, "seed=3", "network.widths=[32,32]"), "plain": (PLAIN,), "adapted": (STUDY,)}
    for name, argv in ran.items():
        cfg = checked(*argv)
        (root / name).mkdir()
        (root / name / "config.yaml").write_text(yaml.safe_dump(cfg))
        (root / name / "overrides.json").write_text(json.dumps([*argv]))
        stages = {stage: {"key": f"key{stage}", "path": f"/gone/{stage}"} for stage in cfg["stages"]}
        (root / name / "stages.json").write_text(json.dumps(stages))
    return root


@pytest.fixture
def runs(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_a_scale_is_another_sampling_and_the_same_training():
    first, other, rank = (
        planned_keys(checked(STUDY, setting))
        for setting in ("adapter.scale=1", "adapter.scale=0.5", "adapter.tuning.rank=3")
    )
    assert {stage for stage in first if first[stage] != other[stage]} == {"samples", "metrics"}
    assert {stage for stage in first if first[stage] != rank[stage]} == {"adapter", "samples", "metrics"}


@pytest.mark.parametrize(
    ("caption", "trigger", "lines"),
    [
        ("a photo of zwx cat", ["zwx"], 0),
        ("a photo of ZWX cat", ["zwx", "cat"], 0),
        ("a photo of zwx cat", ["sks"], 1),
        (None, ["sks"], 0),
        ("a photo of zwx cat", [], 0),
    ],
)
def test_a_trigger_is_a_word_that_the_adapter_is_trained_with(caption, trigger, lines):
    found = [*trigger_calls_up({"data": {"caption": caption}, "adapter": {"trigger": trigger}})]
    assert len(found) == lines
    told = "adapter.trigger: sks is not in data.caption='a photo of zwx cat', which it has; give"
    assert all(line.startswith(told) for line in found)


def test_rates_are_factors_by_names():
    rates = checked(STUDY, "+adapter.rates={mid_block.*:0.5,to_q:2}")["adapter"]["rates"]
    assert rates == {"mid_block.*": 0.5, "to_q": 2.0}
    (line,) = told(STUDY, "+adapter.rates={to_q:0}")
    assert line.startswith("adapter.rates")


def test_the_base_is_trained_on_its_own_data_and_all_else_is_of_the_adapters():
    first, other = planned_keys(checked(STUDY)), planned_keys(checked(STUDY, "data=mnist_thick"))
    assert {stage for stage in first if first[stage] == other[stage]} == {"base_data", "denoiser"}
    none = planned_keys(checked(STUDY, "adapter=none"))
    assert first.keys() - none.keys() == {"adapter"}
    assert none["denoiser"] == first["denoiser"]


def test_a_study_without_an_adapter_does_not_know_of_it():
    (samples,) = (stage for stage in STAGES if stage.name == "samples")
    assert "adapter" not in samples.seen(checked(PLAIN))
    assert samples.seen(checked(STUDY))["adapter"] == {"scale": 1.0, "control": None}


@pytest.mark.parametrize(
    ("cfg", "line"),
    [
        ({"stages": ["data", "denoiser"]}, "adapter: has no effect here, where nothing is sampled"),
        (
            {"checkpoint": 5},
            "checkpoint: an adapter is of the end of its base's training; leave it",
        ),
        (
            {"adapter": {"trainer": {"keep": [5]}}},
            "adapter.trainer.keep: has no effect, an adapter is",
        ),
        ({"adapter": None, "base": "run"}, f"base: has no effect without an adapter; {CHOOSE}"),
        ({"base_data": {}, "stages": ["adapter", "samples"]}, "base_data: has no effect here, where no"),
    ],
)
def test_what_an_adapter_has_no_use_for_is_refused(cfg, line):
    study = {"stages": STAGED, "adapter": {"tuning": {}}}
    rules = [adapter_is_used, base_is_trained_on_its_data]
    assert [said for rule in rules for said in rule(study)] == []
    (said,) = [said for rule in rules for said in rule({**study, **cfg})]
    assert said.startswith(line)


def test_mistakes_in_an_adapter_are_told_in_a_line_each():
    node = yaml.safe_load((CONF / "adapter" / "linear.yaml").read_text())["tuning"]
    _, mistakes = check_object({**node, "rank": 0, "kinds": ["lstm"], "root": True}, "adapter.tuning")
    assert [line.partition(":")[0] for line in mistakes] == [
        "adapter.tuning.kinds",
        "adapter.tuning.rank",
        "adapter.tuning.root",
    ]
    (line,) = wrong_kinds({"adapter": {"tuning": of("methods.settings", "Training")}})
    assert line == "adapter.tuning._target_: must be a Tuning, got condiff.methods.settings.Training"


def test_a_scale_of_no_adapter_is_told():
    (line,) = told(PLAIN, "adapter.scale=0.5")
    assert line == f"adapter.scale: has no effect without an adapter; {CHOOSE}, or leave it out"


def test_a_study_whose_adapter_is_taken_away_is_its_base():
    bare, whole = each("-m", STUDY, "adapter=none,linear")
    assert "adapter" in whole["stages"]
    assert bare["adapter"] is None
    assert "adapter" not in bare["stages"]
    assert planned_keys(bare)["denoiser"] == planned_keys(whole)["denoiser"]
    bare, whole = each("-m", STUDY, "adapter=none,linear", "adapter.trainer.steps=5")
    assert bare["adapter"] is None
    assert whole["adapter"]["trainer"]["steps"] == 5
    (line,) = told(STUDY, "adapter=none", "adapter.trainer.steps=5")
    assert line == f"adapter.trainer: has no effect without an adapter; {CHOOSE}, or leave it out"


def test_a_finished_base_is_as_it_was_and_its_stages_are_there(runs):
    cfg = checked(STUDY, "base=latent")
    run = yaml.safe_load(Path("latent/config.yaml").read_text())
    for key in ("conditioner", "process", "objective", "network", "method", "autoencoder"):
        assert cfg[key] == run[key]
    assert cfg["seed"] == 0
    assert cfg["base_data"] is None
    assert cfg["data"]["_target_"] == "condiff.data.looks.Rotated"
    assert {"autoencoder", "latents", "base_latents", "denoiser", "adapter", "judge"} <= {*cfg["stages"]}
    assert "base_data" not in cfg["stages"]
    named = checked(STUDY, "base=latent", "stages=[data,denoiser,samples]")["stages"]
    assert {*named} == {"data", "autoencoder", "latents", "base_latents", "denoiser", "adapter", "samples"}


def test_a_sweep_over_bases_adapts_each_as_it_is(runs):
    found = each("-m", STUDY, "base=latent,plain", "adapter.scale=0,1")
    widths = [(cfg["base"], cfg["network"]["widths"], cfg["adapter"]["scale"]) for cfg in found]
    assert widths == [
        (base, [32, w], scale) for base, w in (("latent", 32), ("plain", 64)) for scale in (0, 1)
    ]
    assert all("base_latents" in cfg["stages"] for cfg in found)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (("base=latent", "network.widths=[8]"), "network.widths=[8]: has no effect with base=..., which is"),
        (
            ("base=latent", "data@base_data=digits"),
            "data@base_data=digits: has no effect with base=...",
        ),
        (("base=latent", "adapter=none"), f"base: has no effect without an adapter; {CHOOSE}"),
        (
            ("base=adapted",),
            "base: is a run with an adapter of its own; give the run that its",
        ),
        (("base=nowhere",), "base: nowhere is no finished run: there is no such folder; give the folder"),
        (("base=3",), "base: must be text or null, got 3"),
    ],
)
def test_what_is_no_base_or_has_no_effect_on_one_is_refused(runs, argv, line):
    (said,) = told(STUDY, *argv)
    assert said.startswith(line)


def test_pictures_of_an_adapted_run_are_drawn_at_any_scale_and_nothing_else_of_it_changes(runs):
    cfg = checked("task=sample", "from=adapted", "adapter.scale=0.25")
    assert cfg["adapter"]["scale"] == 0.25
    assert cfg["stages"] == ["data", "denoiser", "adapter", "samples"]
    (line,) = told("task=sample", "from=adapted", "adapter.tuning.rank=2")
    assert line.startswith("adapter.tuning.rank=2: has no effect on task=sample, which trains nothing")


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("a.safetensors", ("a.safetensors", 1.0)),
        ("a.safetensors:0.7", ("a.safetensors", 0.7)),
        ("run:-1", ("run", -1.0)),
        ("C:/a.safetensors", ("C:/a.safetensors", 1.0)),
    ],
)
def test_what_follows_a_colon_is_the_scale_of_an_adapter(entry, found):
    assert with_scale(entry) == found
    assert with_shares(entry) == (entry, None)
    assert with_shares(f"{entry}:0-.25") == (entry, (0.0, 0.25))
    assert with_guess(entry) == (entry, None)
    own, target = with_guess(f"{entry}:guess_diffusers")
    assert (own, target) == (entry, "condiff.adapters.control.GuessDiffusers")


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        (["a:nan"], f"adapters[0]: the scale must be finite, got nan; {FORMS}"),
        (["a", ":0.5"], f"adapters[1]: must be {FORMS[5:]}, got ':0.5'"),
        (
            ["a:1:0.6-0.2"],
            f"adapters[0]: START must be below END, got 0.6-0.2; {FORMS}",
        ),
        (
            ["a:1:0.6-1.2"],
            f"adapters[0]: START-END must be shares of the way, 0 to 1, got 0.6-1.2; {FORMS}",
        ),
    ],
)
def test_what_names_no_adapter_is_refused(entries, line):
    assert [*finished_adapters_are_named({"stages": STAGED, "adapters": entries})] == [line]
    (said,) = finished_adapters_are_named({"stages": ["data"], "adapters": ["a"]})
    assert said == "adapters: has no effect here, where nothing is sampled; leave it out, got ['a']"


def test_adapters_are_named_on_the_command_line(runs):
    drawn = checked("task=sample", "from=latent", "adapters=[a.safetensors:0.7,b/c]")
    assert drawn["adapters"] == ["a.safetensors:0.7", "b/c"]


def test_text_encoders_are_trained_where_a_pipeline_has_them_and_their_file_has_room():
    low, whole = of("adapters.low_rank", "LowRank"), of("adapters.whole", "Whole")
    control = of("adapters.controlnet", "ControlNet")
    clip = {"encoder": of("conditioners.encoders", "ClipText")}
    study = {"stages": STAGED, "conditioner": clip, "adapter": {"tuning": low, "text": low, "text_rate": 0.5}}
    assert [*adapter_is_used(study)] == []
    for tuning in (low, whole):
        assert [*adapter_is_used({**study, "adapter": {"tuning": tuning, "text": whole}})] == []
    for changes, line in (
        ({"conditioner": of("conditioners.label", "ClassLabel")}, "adapter.text: ClassLabel is not trained"),
        ({"adapter": {"tuning": whole, "text": low}}, "adapter.text: must be a Whole beside a Whole, got"),
        ({"adapter": {"tuning": control, "text": whole}}, "adapter.tuning: must be a LowRank or a Whole"),
        ({"adapter": {"tuning": low, "text": control}}, "adapter.text: must be a LowRank or a Whole"),
        ({"adapter": {"tuning": low, "text_rate": 0.5}}, "adapter.text_rate: has no effect without adapter"),
        (
            {"adapter": {"tuning": low, "text": {**low, "frozen": "bfloat16"}}},
            "adapter.text.frozen: must be float32",
        ),
    ):
        (said,) = adapter_is_used({**study, **changes})
        assert said.startswith(line)


@pytest.mark.parametrize(
    ("key", "node", "own"),
    [
        ("fit", of("evaluation.text_alignment", "TextAlignment", fit="base"), "train"),
        ("real", of("evaluation.frechet", "FrechetDistance", real="base"), "train"),
        ("fake", of("evaluation.frechet", "FrechetDistance", fake="base"), "samples"),
    ],
)
def test_a_metric_that_sees_a_bases_data_needs_some(key, node, own):
    study = {"stages": [*STAGED, "metrics"], "metrics": {"every": 0, "t": node}}
    assert [*base_is_trained_on_its_data({**study, "base_data": {}})] == []
    (said,) = base_is_trained_on_its_data(study)
    assert said == (
        f"metrics.t.{key}: must be {own} where there is no base_data, got base; leave it out, with ~metrics.t"
    )


def test_what_reads_no_caption_has_none_to_shuffle():
    method = of("methods.adaptation", "Adaptation", shuffle_after=0)
    study = {"stages": STAGED, "adapter": {"method": method}}
    assert [*adapter_is_used({**study, "conditioner": of("conditioners.text", "Text")})] == []
    (said,) = adapter_is_used({**study, "conditioner": of("conditioners.label", "ClassLabel")})
    assert said == "adapter.method.shuffle_after: has no effect without captions; leave it out, got 0"
