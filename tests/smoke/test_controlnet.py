"""A base, its ControlNet and how well that is obeyed, shrunk."""

import json
from pathlib import Path

import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from safetensors.torch import load_file

from condiff.config.compose import check, register
from condiff.errors import ConfigError
from condiff.interrupts import Interrupts
from condiff.stages.driver import fits, run_study
from condiff.stages.finished_adapters import FILE
from condiff.stages.study import STAGES
from tests.smoke.conftest import ROOT

NAMES = [stage.name for stage in STAGES]
TINY = (
    "experiment=controlnet_circles",
    "conditioner=label",
    "~conditioner.whitened",
    "network.text_map=0",
    "network.widths=[8,8]",
    "network.head_width=8",
    "data.num_train=40",
    "data.num_held_out=12",
    "trainer.steps=3",
    "trainer.batch_size=8",
    "adapter.trainer.steps=4",
    "adapter.trainer.batch_size=8",
    "adapter.optimizer.lr=0.05",
    "metrics.every=2",
    "sampler.steps=2",
    "num_samples=12",
    "logger.wandb=off",
    "runtime.accelerator=cpu",
)


TOLD = (
    *(setting for setting in TINY if "conditioner" not in setting and "text_map" not in setting),
    *("conditioner.whitened=4", "network.text_map=2", "metrics.every=0"),
)


def checked(*argv, small=TINY):
    (cfg,) = check([*small, *argv], ROOT / "conf", NAMES) or []
    return cfg


@pytest.fixture
def ran(tmp_path, cache):
    register()

    def run(folder, *argv, small=TINY):
        run_study(checked(*argv, f"runtime.cache={cache}", small=small), tmp_path / folder, Interrupts())
        stages = json.loads((tmp_path / folder / "stages.json").read_text())
        return stages, load_file(Path(stages["samples"]["path"]) / "samples.safetensors")

    return run


def test_a_base_is_controlled_and_measured_on_the_way_and_drawn_at_any_scale(ran, tmp_path):
    stages, some = ran("one")
    assert [*stages] == ["data", "denoiser", "adapter", "samples", "metrics"]
    measured = [json.loads(line) for line in (tmp_path / "one" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in measured if "iou" in row] == [0, 2, 4]
    found = json.loads((tmp_path / "one" / "metrics.json").read_text())
    assert found["iou_real"]["value"] > 0.98
    assert found["iou_shuffled"]["value"] < 0.5
    page = (tmp_path / "one" / "report.html").read_text()
    assert "Samples beside their hints" in page
    assert "ondition not obeyed by step 4: iou" in page
    again, none = ran("none", "adapter.scale=0")
    assert {name for name, stage in again.items() if stage["status"] == "run"} == {"samples", "metrics"}
    assert not torch.equal(none["image"], some["image"])
    assert torch.equal(none["control"], some["control"])


def test_the_copy_begins_at_the_last_weights_of_the_base_and_not_at_their_average(ran):
    still = ("adapter.trainer.steps=1", "adapter.optimizer.lr=1e-12", "adapter.optimizer.weight_decay=0")
    stages, _ = ran("still", *still, "metrics.every=0")
    base = Path(stages["denoiser"]["path"])
    copied = load_file(Path(stages["adapter"]["path"]) / FILE)["conv_in.weight"]
    last, averaged = (
        load_file(base / f"{name}.safetensors")["net.conv_in.weight"] for name in ("weights", "ema")
    )
    torch.testing.assert_close(copied, last, rtol=0, atol=1e-9)
    assert (averaged - last).abs().max() > 1e-5


@pytest.mark.slow
def test_what_its_authors_have_no_names_for_is_exported_for_diffusers_alone(ran, tmp_path, capsys):
    stages, _ = ran("told", small=TOLD)
    (cfg,) = (
        check(["task=export", f"from={tmp_path / 'told'}", "logger.wandb=off"], ROOT / "conf", NAMES) or []
    )
    run_study(cfg, tmp_path / "out", Interrupts())
    folder = tmp_path / "out" / "adapter" / "controlnet"
    assert {file.name for file in folder.iterdir()} == {"config.json", "diffusion_pytorch_model.safetensors"}
    own = load_file(Path(stages["adapter"]["path"]) / FILE)
    theirs = ControlNetModel.from_pretrained(folder).state_dict()
    assert torch.equal(theirs["class_embedding.linear_1.weight"], own["class_embedding.linear_1.weight"])
    assert "has no name for class_embedding.linear_1.weight in the layout of" in capsys.readouterr().err


def test_samples_are_measured_with_their_hints_wherever_they_are(ran, tmp_path, cache):
    ran("trained")
    run, own = tmp_path / "trained", ("logger.wandb=off", "runtime.accelerator=cpu", f"runtime.cache={cache}")
    looked = ("task=evaluate", f"images={run}", f"reference={run}", "metrics=circles", *own)
    (cfg,) = check([*looked], ROOT / "conf", NAMES) or []
    run_study(cfg, tmp_path / "looked", Interrupts())
    first, again = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("trained", "looked")
    )
    assert {name: entry["value"] for name, entry in again.items()} == {
        name: pytest.approx(entry["value"], abs=1e-6) for name, entry in first.items()
    }


def test_guess_mode_is_another_use_of_the_same_training():
    other = checked("adapter=controlnet_guess_diffusers", "guidance.scale=3")
    assert other["adapter"]["control"]["_target_"].endswith("GuessDiffusers")
    one = checked()
    assert {**other["adapter"], "control": None} == {**one["adapter"], "control": None}


def test_pictures_without_hints_are_refused_in_one_line():
    from condiff.config.build import build  # noqa: PLC0415

    own = [setting for setting in TINY if not setting.startswith("data.")]
    (cfg,) = check([*own, "data=mnist"], ROOT / "conf", NAMES) or []
    with pytest.raises(ConfigError, match=r"adapter\.tuning: ControlNet needs a hint beside each picture"):
        fits(cfg, build(cfg["data"], "data").info())
