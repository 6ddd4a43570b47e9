"""What a real study tells its loggers, and that it is the same study without them."""

import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from condiff.config.compose import check, register
from condiff.files import file_digest
from condiff.interrupts import Interrupted, Interrupts
from condiff.stages.driver import run_study
from condiff.stages.loggers.wandb_runs import Wandb
from condiff.stages.study import STAGES
from tests.smoke.conftest import ALONE, LATENT, ROOT, TINY
from tests.smoke.test_command_line import told
from tests.smoke.test_study import stages
from tests.stages.loggers.conftest import records, run_of

CANARY = "s3cr3t-canary"


@pytest.fixture(autouse=True)
def no_login(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no netrc"))


def tiny(tmp_path, *argv):
    return [*TINY, *LATENT, f"runtime.cache={tmp_path / 'cache'}", "logger.wandb=offline", *argv]


def artifact(folder, stage):
    """The files of an artifact by their content, but for pictures and what depends on the machine."""
    path = Path(stages(folder)[stage]["path"])
    files = (file for file in path.rglob("*") if file.is_file() and file.parent.name != "pictures")
    return {file.name: file_digest(file) for file in files if file.name not in ("manifest.json", "log.jsonl")}


def test_a_study_is_the_same_whether_it_is_watched_or_not(study, tmp_path):
    unseen = study("logger.pictures_every=0", f"runtime.cache={tmp_path / 'one'}", folder="unseen")
    every = ("logger.pictures_every=1", "logger.csv=true", "logger.tensorboard=true", "logger.wandb=offline")
    seen = study(*every, f"runtime.cache={tmp_path / 'two'}", folder="seen")
    assert {name: stage["key"] for name, stage in stages(seen).items()} == {
        name: stage["key"] for name, stage in stages(unseen).items()
    }
    for stage in ("autoencoder", "denoiser", "samples"):
        assert artifact(seen, stage) == artifact(unseen, stage)
    assert not (Path(stages(unseen)["denoiser"]["path"]) / "pictures").exists()
    drawn = Path(stages(seen)["denoiser"]["path"]) / "pictures"
    assert len(list(drawn.glob("step=*.png"))) == 4
    page = (seen / "report.html").read_text()
    assert "Through training" in page
    assert "ClassifierFree, s = 2, w = s − 1 = 1, DPMSolverPP2M" in page
    assert "Reconstructions through training" in page
    assert "Through training" not in (unseen / "report.html").read_text()
    assert (seen / "log.denoiser.csv").is_file()
    assert {path.name for path in (seen / "tensorboard").iterdir()} == {
        "study",
        "judge",
        "autoencoder",
        "denoiser",
    }


def test_the_first_samples_of_the_study_are_what_the_last_picture_shows(study, tmp_path):
    """The same weights, noise and classes; a study of 20 samples."""
    folder = study(f"runtime.cache={tmp_path / 'cache'}", "logger.pictures_every=4")
    samples = load_file(Path(stages(folder)["samples"]["path"]) / "samples.safetensors")
    (path,) = (Path(stages(folder)["denoiser"]["path"]) / "pictures").glob("step=*.png")
    shown = np.asarray(Image.open(path).convert("L")).astype(int)
    side, gap = 64, 2
    for place in range(20):
        row, column = divmod(place, 2)
        top, left = row * (side + gap), column * (side + gap)
        first = shown[top : top + side : 4, left : left + side : 4]
        expected = samples["image"][samples["label"] == row][column, 0].astype(int)
        assert np.abs(first - expected).max() <= 1


def test_a_guidance_that_waits_for_a_second_model_is_left_out_of_the_pictures(study, tmp_path):
    folder = study(f"runtime.cache={tmp_path / 'cache'}", "guidance=autoguidance", "weaker.trainer.steps=3")
    captions = Path(stages(folder)["denoiser"]["path"]) / "pictures" / "caption.json"
    assert "NoGuidance" in captions.read_text()


def test_no_secret_is_in_anything_that_a_run_leaves(tmp_path):
    source = tmp_path / "pictures"
    for name in ("one", "two"):
        (source / name).mkdir(parents=True)
        for i in range(6):
            Image.new("L", (16, 16), 20 * i).save(source / name / f"{i}.png")
    argv = [word for word in tiny(tmp_path, "hydra.run.dir=run") if not word.startswith("data")]
    secret = [f"question='see https://user:{CANARY}@example.org'", f"logger.tags=['token={CANARY}']"]
    own = ["data=image_folder", f"data.path={source}", "data.held_out=0.3"]
    code, _, err = told(tmp_path / "cwd", *argv, *own, *secret, "logger.tensorboard=true", "logger.csv=true")
    assert code == 0, err
    (study_run,) = (tmp_path / "cwd" / "run" / "wandb").glob("offline-run-*-study-*")
    (run,) = records(study_run, "run")
    assert run["config"]["update"]["question"] == "see https://***@example.org"
    assert run["config"]["update"]["trainer"]["steps"] == 4
    assert "left out" not in (tmp_path / "cwd" / "run" / "run.log").read_text()
    updates = [part["update"] for part in records(study_run, "config")]
    assert {*updates[-1]["trainings"]} == {"judge", "autoencoder", "denoiser"}
    left = [path for path in (tmp_path / "cwd").rglob("*") if path.is_file()]
    assert len(left) > 20
    assert [path for path in left if CANARY.encode() in path.read_bytes()] == []


def test_a_training_that_was_stopped_goes_on_in_the_same_run(tmp_path, monkeypatch):
    register()
    steps = ("trainer.steps=12", "trainer.log_every=2")
    argv = [*TINY, *ALONE, *steps, f"runtime.cache={tmp_path / 'cache'}", "logger.wandb=offline"]
    (cfg,) = check(argv, ROOT / "conf", [stage.name for stage in STAGES])
    interrupts, tell = Interrupts(), Wandb.scalars

    def stop(self, step, values):
        tell(self, step, values)
        interrupts.pending = signal.SIGTERM if step == 4 else None

    folders = [tmp_path / name for name in ("first", "second")]
    monkeypatch.setattr(Wandb, "scalars", stop)
    with pytest.raises(Interrupted):
        run_study(cfg, folders[0], interrupts)
    monkeypatch.setattr(Wandb, "scalars", tell)
    run_study(cfg, folders[1], Interrupts())
    made = stages(folders[1])["denoiser"]
    assert made["status"] == "resumed"
    runs = [records(run_of(folder, f"denoiser-{made['key']}"), "history") for folder in folders]
    told_of = [[int(row["step"].get("num", 0)) for row in rows] for rows in runs]
    assert told_of[0][-1] < told_of[1][-1] == 12
    assert sorted({*told_of[0], *told_of[1]} & {*range(2, 13, 2)}) == [2, 4, 6, 8, 10, 12]
    (first,), (second,) = ([*(folder / "wandb").glob("offline-run-*-study-*")] for folder in folders)
    assert first.name.split("-", 3)[3] == second.name.split("-", 3)[3]


def test_required_and_no_login_is_one_line_before_anything_is_made(tmp_path):
    code, _, err = told(tmp_path / "cwd", *tiny(tmp_path, "logger.required=true", "logger.wandb=auto"))
    assert code == 6
    assert err == "error[6]: logger.required: wandb has no login; wandb login, or logger.required=false\n"
    assert not list((tmp_path / "cache").glob("judge/*"))
