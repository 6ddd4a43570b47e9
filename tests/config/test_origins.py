"""Something finished as the ground of a config: what of it is kept, and what is refused in one line."""

import json
from itertools import product
from pathlib import Path

import pytest
import yaml
from choices import CONF

from condiff.config.compose import check, register
from condiff.config.origins import origin_of
from condiff.errors import ArtifactError, ConfigError
from condiff.stages.study import STAGES
from condiff.stages.taken import refuse_drawing

NAMES = [stage.name for stage in STAGES]
STUDIES = {
    "text": ("experiment=cfg_latent_text", "guidance.scale=3", "seed=5", "guidance.negative=black"),
    "label": ("experiment=cfg_latent", "sampler.steps=7", "num_samples=40", "trainer.keep=[500]", "label=2"),
    "first_stage": ("experiment=autoencoder_kl",),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of runs, which have left what was asked of them; their artifacts are only said to be there."""
    register()
    root = tmp_path_factory.mktemp("runs")
    for name, argv in STUDIES.items():
        (cfg,) = check([*argv], CONF, NAMES) or []
        folder = root / name
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump(cfg))
        (folder / "overrides.json").write_text(json.dumps([*argv]))
        stages = {stage: {"key": f"key{stage}", "path": f"/gone/{stage}"} for stage in cfg["stages"]}
        (folder / "stages.json").write_text(json.dumps(stages))
    (root / "weights.safetensors").write_bytes(b"")
    (root / "unfinished").mkdir()
    (root / "unfinished" / "config.yaml").write_text("name: unfinished")
    (root / "broken").mkdir()
    (root / "broken" / "config.yaml").write_text("name: [")
    (root / "broken" / "stages.json").write_text("{}")
    (root / "sweep" / "1").mkdir(parents=True)
    (root / "sweep" / "1" / "stages.json").write_text("{}")
    (root / "sweep" / "sweep.json").write_text('{"jobs": [{}, {}]}')
    (root / "empty").mkdir()
    return root


@pytest.fixture
def asked(runs, monkeypatch):
    monkeypatch.chdir(runs)
    return lambda *argv: check([*argv, "task=sample"], CONF, NAMES) or []


def test_what_is_not_asked_for_is_as_in_the_run(asked):
    (cfg,) = asked("from=text")
    assert cfg["stages"] == ["data", "texts", "autoencoder", "latents", "denoiser", "samples"]
    assert (cfg["num_samples"], cfg["seed"], cfg["text"], cfg["label"]) == (16, 5, None, None)
    assert (cfg["guidance"]["scale"], cfg["guidance"]["negative"]) == (3.0, "black")
    run = yaml.safe_load(Path("text/config.yaml").read_text())
    for key in ("data", "conditioner", "network", "process", "objective", "sampler", "guidance"):
        assert cfg[key] == run[key]
    (cfg,) = asked("from=label")
    assert (cfg["sampler"]["steps"], cfg["num_samples"], cfg["label"]) == (7, 16, None)


def test_what_is_asked_for_stands_above_the_run(asked):
    (cfg,) = asked(
        "from=text", "text=[one,two]", "negative=[grey,red]", "n=3", "seed=9", "guidance.scale=1.5"
    )
    assert (cfg["text"], cfg["num_samples"], cfg["seed"]) == (["one", "two"], 3, 9)
    assert (cfg["guidance"]["scale"], cfg["guidance"]["negative"]) == (1.5, ["grey", "red"])
    assert "negative" not in asked("from=text", "negative=null")[0]["guidance"]
    (cfg,) = asked("from=text", "guidance.scale=1")  # the run's own words, which nobody gave again
    assert cfg["guidance"]["scale"] == 1
    (cfg,) = asked("from=label", "label=[3,4]", "sampler=heun", "guidance=cfg_interval", "checkpoint=500")
    assert cfg["sampler"]["_target_"].endswith(".Heun")
    assert cfg["guidance"]["_target_"].endswith(".ClassifierFreeInterval")
    assert (cfg["label"], cfg["checkpoint"]) == ([3, 4], 500)


def test_a_sweep_goes_over_runs_and_settings(asked):
    every = asked("-m", "from=text,label", "guidance.scale=1,2", "n=2")
    assert [(cfg["from"], cfg["guidance"]["scale"]) for cfg in every] == [
        *product(("text", "label"), (1.0, 2.0))
    ]
    assert ["texts" in cfg["stages"] for cfg in every] == [True, True, False, False]


def test_a_guidance_brings_the_second_model_that_it_asks_for(asked):
    (cfg,) = asked("from=label", "guidance=autoguidance")
    assert "weaker" in cfg["stages"]
    with pytest.raises(ArtifactError):  # of the first stage that is looked for
        refuse_drawing(cfg)
    with pytest.raises(ConfigError, match=r"guidance: needs stage weaker, which label has not made"):
        refuse_drawing({**cfg, "stages": ["weaker"]})


def test_an_artifact_that_is_gone_is_told_with_its_key_and_the_command_that_makes_it_again(asked):
    (cfg,) = asked("from=label")
    with pytest.raises(ArtifactError) as told:
        refuse_drawing({**cfg, "stages": ["denoiser", "samples"]})
    (line,) = told.value.lines
    assert line == (
        "from: the denoiser of label, key keydenoiser, is no longer at /gone/denoiser; make it again with"
        " python run.py experiment=cfg_latent sampler.steps=7 num_samples=40 'trainer.keep=[500]' label=2"
    )


NO_RUN = "give the folder that a run of a study has left, with config.yaml and stages.json"
WRONG = {
    "nothing": ([], "from: is required; give the folder of a finished run or of a pipeline, from=..."),
    "absent": (["from=gone"], f"from: gone is no finished run: there is no such folder; {NO_RUN}"),
    "hub": (
        ["from=org/model"],
        "from: org/model is no finished run: there is no such folder, nor such a pipeline in the hub's local"
        f" cache (hf download org/model); {NO_RUN}",
    ),
    "empty": (["from=empty"], f"from: empty is no finished run; {NO_RUN}"),
    "file": (["from=text/config.yaml"], f"from: text/config.yaml is no finished run; {NO_RUN}"),
    "weights": (
        ["from=weights.safetensors"],
        "from: weights.safetensors is no finished run, it is a file of weights; draw from a Stable",
    ),
    "blank": (["from=' '"], f"from: names nothing; {NO_RUN}"),
    "number": (["from=3"], "from: must be the folder of a finished run or of a pipeline, got 3"),
    "unfinished": (
        ["from=unfinished"],
        "from: unfinished is no finished run: it has no stages.json; give the command of that run again",
    ),
    "broken": (["from=broken"], "from: broken is no finished run, its files cannot be read ("),
    "sweep": (
        ["from=sweep"],
        "from: sweep is no finished run, it is a sweep of 1 finished ones; give one, from=sweep/1",
    ),
    "first stage": (["from=first_stage"], "from: first_stage has no denoiser, only the stages data, "),
    "none": (["from=label", "n=0"], "n: must be an integer >= 1 or null, got 0"),
    "null": (["from=label", "n=null"], "n: must be an integer >= 1, got null; 16 is usual"),
    "text": (
        ["from=label", "text=a"],
        "text: has no effect where conditioner is ClassLabel, which does not read it; use label=K",
    ),
    "label": (
        ["from=text", "label=1"],
        "label: has no effect where conditioner is Text, which does not read it; use text='...'",
    ),
    "negative": (
        ["from=label", "negative=red"],
        "negative: has no effect where conditioner is ClassLabel, which reads no text; use guidance=negative"
        " guidance.label=K",
    ),
    "no words": (["from=text", "negative=[]"], "negative: must name at least one, got []; null leads away"),
    "classes": (
        ["from=text", "guidance=negative", "guidance.label=1"],
        "guidance.label: no classes are told apart where conditioner is Text; use guidance=cfg with words to"
        " lead away from, negative='...'",
    ),
    "without guidance": (
        ["from=text", "guidance=none", "negative=red"],
        "negative: has no effect with NoGuidance, which leads away from nothing that is not asked for; use"
        " guidance=cfg",
    ),
    "plain model": (
        ["from=text", "guidance.scale=1", "negative=red"],
        "negative: has no effect at guidance.scale=1, the plain conditional model; use guidance.scale=2",
    ),
    "training": (["from=label", "trainer.steps=4"], "trainer.steps=4: has no effect on task=sample, which"),
    "mistyped": (
        ["from=label", "txt=a"],
        "txt=a: has no effect on task=sample, which trains nothing and reads from, text, label,"
        " control, negative, n, seed, guidance, sampler, checkpoint, average, sample_precision, adapters,"
        " adapter.scale, adapter.control; leave it out; did you mean 'text'?",
    ),
    "group": (["from=label", "network=adm"], "network=adm: has no effect on task=sample, which"),
    "study": (["from=label", "experiment=cfg_latent"], "experiment=cfg_latent: has no effect on task=sample"),
    "count": (["from=label", "num_samples=4"], "num_samples=4: is written n=... with task=sample"),
    "words": (
        ["from=text", "guidance.negative=red"],
        "guidance.negative=red: is written negative=... with task=sample",
    ),
    "misspelt": (["from=label", "guidance.scal=4"], "guidance.scal: no such argument of ClassifierFree; did"),
    "step": (
        ["from=label", "checkpoint=7"],
        "checkpoint: must be one of the steps in trainer.keep=[500], got 7; null is the end",
    ),
    "devices": (["from=label", "n=1", "runtime.devices=2"], "n: must be at least runtime.devices=2, got 1"),
    "several": (["from=a,b"], "from=a,b: several values are a sweep, which needs -m; a list is written"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_drawn_is_one_line(asked, case):
    argv, line = WRONG[case]
    with pytest.raises(ConfigError) as told:
        asked(*argv)
    (found,) = told.value.lines
    assert found.startswith(line)


def test_the_words_of_the_task_belong_to_it_alone(runs):
    lines = {
        "n=3": "n: has no effect here, only with task=sample; leave it out, or use num_samples",
        "negative=red": "negative: has no effect here, only with task=sample; leave it out, or use guidance.",
        f"from={runs / 'text'}": "from: has no effect here, only with task=sample or export; leave it out",
    }
    for word, line in lines.items():
        with pytest.raises(ConfigError) as told:
            check(["experiment=cfg_latent", word], CONF, NAMES)
        (found,) = told.value.lines
        assert found.startswith(line)
    with pytest.raises(ConfigError, match="n: has no effect here"):  # nor do they make it that task
        check(["experiment=cfg_latent", *lines], CONF, NAMES)


def test_a_run_that_was_run_again_is_read_again(tmp_path):
    (tmp_path / "config.yaml").write_text("stages: [denoiser]")
    for key in ("first", "second"):
        (tmp_path / "stages.json").write_text(json.dumps({"denoiser": {"key": key, "path": "/gone"}}))
        assert origin_of(str(tmp_path)).stages["denoiser"]["key"] == key
