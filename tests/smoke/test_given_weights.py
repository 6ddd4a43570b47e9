"""Studies of networks that are given their weights: used as they are, and known by their content."""

import json
import os
from pathlib import Path

import pytest
import torch
from choices import CONF
from networks.adm_original import Encoder, Flags, random
from safetensors.torch import load_file, save_file

from condiff.config.compose import check, read_command, register
from condiff.data.source import DataInfo
from condiff.errors import ConfigError
from condiff.interrupts import Interrupts
from condiff.stages.driver import planned_keys, rehearse_if_new, run_study
from condiff.stages.given import weights_are_there
from condiff.stages.study import STAGES
from tests.smoke.conftest import TINY

NAMES = [stage.name for stage in STAGES]
FLAGS = Flags(16, 32, 1, (1, 2), (8,), num_head_channels=16, num_classes=10, inputs=1, outputs=2)
CLASSIFIER = Encoder(16, 64, 1, (1, 1), (8,), outputs=10)
SMALL = (
    *("width=32", "multipliers=[1,2]", "attention=[8]", "blocks=1"),
    *("head_width=16", "block_resampling=false", "joint_heads=false"),
)
SMALL_CLASSIFIER = ("width=64", "multipliers=[1,1]", "attention=[8]", "blocks=1")
STUDY = (
    *(word for word in TINY if not word.startswith(("network.", "trainer."))),
    "stages=[data,judge,denoiser,samples,metrics]",
    "~autoencoder",
    "process=linear",
    "objective=eps",
    "sampler=ancestral_learned",
    "sampler.steps=3",
    "guidance=none",
    "method.drop_condition=0",
    "network=adm",
    *(f"network.{word}" for word in SMALL),
)
GUIDED = (
    "guidance=classifier",
    "classifier=adm",
    *(f"classifier.network.{word}" for word in SMALL_CLASSIFIER),
)


@pytest.fixture
def files(tmp_path):
    """Weights of the U-Net and of the classifier, and a file of another classifier."""
    save_file(with_inputs(random(CLASSIFIER)), tmp_path / "classifier.safetensors")
    save_file(random(CLASSIFIER), tmp_path / "colour.safetensors")
    torch.save(random(FLAGS), tmp_path / "u_net.pt")
    return tmp_path


def with_inputs(weights: dict) -> dict:
    """Of one channel."""
    return {**weights, "input_blocks.0.0.weight": weights["input_blocks.0.0.weight"][:, :1].contiguous()}


def configured(files, *overrides, cache="cache"):
    register()
    given = [f"network.weights={files / 'u_net.pt'}", f"runtime.cache={files / cache}"]
    (cfg,) = check([*STUDY, *given, *overrides], CONF, NAMES) or []
    return cfg


def left(folder: Path, stage: str) -> Path:
    return Path(json.loads((folder / "stages.json").read_text())[stage]["path"])


def test_a_study_samples_from_given_weights_and_trains_nothing(files):
    guided = [*GUIDED, f"classifier.network.weights={files / 'classifier.safetensors'}"]
    run_study(configured(files, *guided), files / "run", Interrupts())
    rows = [json.loads(line) for line in (files / "run" / "log.jsonl").read_text().splitlines()]
    assert {row["stage"] for row in rows} == {"judge"}
    denoiser, classifier = left(files / "run", "denoiser"), left(files / "run", "classifier")
    kept, given = load_file(denoiser / "weights.safetensors"), random(FLAGS)
    assert torch.equal(kept["out.2.weight"], given["out.2.weight"])
    assert not (denoiser / "ema.safetensors").exists()
    kept, given = load_file(classifier / "weights.safetensors"), random(CLASSIFIER)
    assert torch.equal(kept["out.2.c_proj.weight"], given["out.2.c_proj.weight"].squeeze(-1))
    assert len(json.loads((classifier / "classifier.json").read_text())["accuracy"]) == 10
    assert json.loads((files / "run" / "metrics.json").read_text())["class_accuracy"]["n"] == 20
    log = (files / "run" / "run.log").read_text()
    assert f"network: used as it is in {files / 'u_net.pt'}; nothing is trained" in log


def test_a_network_is_known_by_the_content_of_its_file(files):
    cfg = configured(files)
    first = planned_keys(cfg)
    os.utime(files / "u_net.pt")
    assert planned_keys(cfg) == first
    torch.save(random(FLAGS, seed=1), files / "u_net.pt")
    second = planned_keys(cfg)
    assert [name for name in first if first[name] != second[name]] == ["denoiser", "samples", "metrics"]


def test_a_file_that_is_not_there_is_told_with_its_key(files):
    cfg = configured(files, *GUIDED, f"classifier.network.weights={files / 'gone.pt'}")
    (files / "u_net.pt").unlink()
    with pytest.raises(ConfigError) as told:
        weights_are_there(cfg)
    hint = "is no file; give one in the layout of ADM's published ones, or null to train"
    assert told.value.lines == (
        f"network.weights: {files / 'u_net.pt'} {hint}",
        f"classifier.network.weights: {files / 'gone.pt'} {hint}",
    )


def test_a_file_that_does_not_fit_is_told_before_anything_is_made(files):
    cfg = configured(files, *GUIDED, f"classifier.network.weights={files / 'colour.safetensors'}")
    info = DataInfo(10, [], 1, 16, 100, 20, has_text=False, source="", left_out=[])
    said = r"classifier\.network\.weights: .*colour\.safetensors does not fit .* input_blocks\.0\.0\.weight"
    with pytest.raises(ConfigError, match=said):
        rehearse_if_new(cfg, info)
    assert not (files / "cache" / "denoiser").exists()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainer.steps=9"], "trainer.steps=9: has no effect with network.weights: nothing is trained"),
        (["optimizer=adamw"], "optimizer=adamw: has no effect with network.weights"),
        (["trainer.keep=[5]"], "trainer.keep: has no effect with network.weights"),
        (["metrics.every=5"], "metrics.every=5: has no effect with network.weights"),
        (["guidance=autoguidance", "weaker=short"], "weaker.network: is null, which is network itself"),
        (
            ["process=cosine"],
            "network: ADM is told the step of a chain, and process is CosineVP; use process=",
        ),
        (["process.num_steps=500"], "network.num_steps: must be process.num_steps=500, got 1000"),
        (["network=unet", "network.weights=null"], "network.weights: no such argument of UNet"),
        (["classifier=adm"], "classifier=adm: has no effect"),
        (["data.size=18", "network.multipliers=[1,2,2]"], "data.size: must be a multiple of 4"),
    ],
)
def test_what_does_not_go_with_given_weights_is_told(overrides, said, files):
    command = [*STUDY, f"network.weights={files / 'u_net.pt'}", *overrides]
    with pytest.raises(ConfigError) as told:
        read_command(command, CONF, NAMES)
    assert any(line.startswith(said) for line in told.value.lines), told.value.lines
