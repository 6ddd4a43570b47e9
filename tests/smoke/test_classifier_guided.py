"""The study of classifier guidance, shrunk: pixels of any size, channels and classes, and no condition."""

import json
import runpy
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from condiff.config.compose import check
from condiff.interrupts import Interrupts
from condiff.stages.driver import run_study
from condiff.stages.study import STAGES

ROOT = Path(__file__).parents[2]
TINY = (
    "experiment=classifier_guided",
    "judge.trainer.steps=3",
    "judge.trainer.batch_size=8",
    "trainer.steps=3",
    "trainer.batch_size=8",
    "network.widths=[8,16]",
    "network.attention=[false,false]",
    "classifier.network.widths=[8,8,16]",
    "classifier.trainer.steps=3",
    "classifier.trainer.batch_size=8",
    "sampler.steps=3",
    "num_samples=12",
    "logger.wandb=off",
    "runtime.accelerator=cpu",
)


def ran(tmp_path: Path, *overrides: str) -> Path:
    argv = [*TINY, *overrides, f"runtime.cache={tmp_path / 'cache'}"]
    (cfg,) = check(argv, ROOT / "conf", [stage.name for stage in STAGES]) or [{}]
    run_study(cfg, tmp_path / "run", Interrupts())
    return tmp_path / "run"


def test_pictures_of_three_channels_and_three_classes_are_guided(tmp_path):
    """24 pixels, which no autoencoder here could halve often enough."""
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs", "eels"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 255, (25, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / name / f"{i}.png")
    folder = ran(tmp_path, "data=image_folder", f"data.path={tmp_path / 'own'}")
    stages = json.loads((folder / "stages.json").read_text())
    assert {"classifier", "denoiser"} <= stages.keys()
    assert "autoencoder" not in stages
    stored = load_file(Path(stages["samples"]["path"]) / "samples.safetensors")
    assert stored["image"].shape == (12, 3, 24, 24)
    assert set(stored["label"].tolist()) == {0, 1, 2}
    head = load_file(Path(stages["classifier"]["path"]) / "weights.safetensors")["pool.head.weight"]
    assert head.shape[0] == 3
    unconditional = load_file(Path(stages["denoiser"]["path"]) / "weights.safetensors")
    assert not any("class_embedding" in name for name in unconditional)
    assert {"class_accuracy", "prdc_judge_recall"} <= json.loads((folder / "metrics.json").read_text()).keys()


def test_the_digits_in_colour_are_a_folder_of_classes(tmp_path, monkeypatch, capsys):
    script = ROOT / "experiments" / "classifier_guided" / "colours.py"
    monkeypatch.setattr("sys.argv", [str(script), str(tmp_path / "colours")])
    runpy.run_path(str(script), run_name="__main__")
    files = sorted((tmp_path / "colours").rglob("*.png"))
    assert len(files) == 5000
    assert {file.parent.name for file in files} == {*"0123456789"}
    pixels = np.asarray(Image.open(files[0]))
    assert pixels.shape == (32, 32, 3)
    assert pixels[0, 0].max() <= 64  # paper is dark
    assert pixels.max() > 200  # and ink bright
