"""Metrics that are told what real pictures show: each picture its own caption, on one process or several."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from condiff.data.captions import as_bytes
from condiff.data.dataset import ShardDataset
from condiff.data.prepare import prepare
from condiff.data.shapes import Shapes
from condiff.errors import ConfigError
from condiff.evaluation.measurement import Measurement
from condiff.evaluation.text_alignment import TextAlignment
from condiff.stages import metrics as stage
from condiff.stages.evaluation import measure as evaluate
from condiff.stages.metrics import measure, take_in_real
from condiff.stages.stage import PICTURES_MADE, Artifact, Runtime

NODE = {
    "_target_": "condiff.evaluation.text_alignment.TextAlignment",
    "extractor": {
        "_target_": "condiff.evaluation.features.efficientnet_lite0.EfficientNetLite0Body",
        "resolution": 32,
    },
    "sentence_encoder": {"_target_": "condiff.evaluation.features.sentences.SentenceEncoder"},
}
NODES = {"t": NODE, "t_floor": {**NODE, "fake": "held_out"}}


class Heard(Measurement):
    """Keeps what it is shown and told."""

    sides = ("train", "held_out")
    needs_captions = True
    count = 0

    def __init__(self):
        super().__init__()
        self.pairs = {side: [] for side in self.sides}

    def describe(self, side, captions):
        self.captions = captions

    def update(self, side, images, label):
        self.pairs[side] += zip(images.flatten(1).sum(1).tolist(), self.captions, strict=True)

    def compute(self):
        return 0


class Second:
    """A rank that has the second half."""

    leads = True

    def share(self, total):
        return range(total // 2, total)

    def first(self, make):
        return make()

    def own_step(self):
        pass

    def pause(self):
        pass


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Shapes, and samples that are the held-out pictures themselves, with their captions."""
    folder = tmp_path_factory.mktemp("shapes")
    prepare(Shapes(size=32, num_train=60, num_held_out=12), folder / "data")
    data = ShardDataset(folder / "data", "held_out")
    batch = next(data.chunks(12))
    samples = folder / "samples"
    samples.mkdir()
    image = ((batch["image"] + 1) * 127.5).round().to(torch.uint8)
    stored = {"image": image, "label": batch["label"], "text": torch.from_numpy(as_bytes(batch["text"]))}
    save_file(stored, samples / PICTURES_MADE)
    paths = {"data": folder / "data", "samples": samples}
    return {name: Artifact(f"{name} {folder}", path, {}) for name, path in paths.items()}


@pytest.mark.parametrize(("ranks", "first"), [(None, 0), (Second(), 30)])
def test_each_real_picture_is_shown_with_its_own_caption(inputs, monkeypatch, ranks, first):
    monkeypatch.setattr(stage, "BATCH", 7)
    heard = Heard()
    runtime = Runtime(accelerator="cpu") if ranks is None else Runtime(accelerator="cpu", ranks=ranks)
    take_in_real({"a": heard}, inputs, runtime)
    data = ShardDataset(inputs["data"].path, "train")
    sums = next(data.chunks(60))["image"].flatten(1).sum(1).tolist()
    expected = [(total, data.text(row)) for row, total in enumerate(sums)][first:]
    assert len({caption for _, caption in expected}) > len(expected) / 2
    assert heard.pairs["train"] == expected
    assert len(heard.pairs["held_out"]) == (12 if ranks is None else 6)


def told_by(inputs, out, runtime):
    out.mkdir()
    measure({"metrics": {**NODES, "every": 0}}, inputs, runtime, out)
    return json.loads((out / "metrics.json").read_text())


def test_samples_that_are_real_are_aligned_as_these_are_and_training_pictures_are_looked_at_once(
    inputs, tmp_path, monkeypatch
):
    runtime = Runtime(accelerator="cpu", statistics=tmp_path / "moments")
    found = told_by(inputs, tmp_path / "first", runtime)
    assert [*found] == [f"t{part}{end}" for end in ("", "_floor") for part in ("", "_over_shuffled", "_top5")]
    assert found["t"]["value"] == pytest.approx(found["t_floor"]["value"], abs=1e-6)
    assert found["t_top5"]["n"] == 12
    assert len([*(tmp_path / "moments").glob("*.npz")]) == 1
    stage._READY.clear()
    seen = []
    update = TextAlignment.update
    monkeypatch.setattr(TextAlignment, "update", lambda self, *a: seen.append(a[0]) or update(self, *a))
    again = told_by(inputs, tmp_path / "second", runtime)
    assert seen == ["held_out", "samples"]
    assert {k: v["value"] for k, v in again.items()} == pytest.approx(
        {k: v["value"] for k, v in found.items()}, abs=1e-9
    )


def test_what_pictures_of_a_base_tell_is_found_again_by_their_key(inputs, tmp_path, monkeypatch):
    """The data's own, of one picture with another caption, change nothing of it."""
    runtime = Runtime(accelerator="cpu", statistics=tmp_path / "moments")
    prepare(Shapes(size=32, num_train=1, num_held_out=12), tmp_path / "few")
    few = Artifact("few", tmp_path / "few", {})
    monkeypatch.setitem(NODES, "t", {**NODE, "fit": "base"})
    monkeypatch.delitem(NODES, "t_floor")
    expected = told_by({**inputs, "base_data": inputs["data"]}, tmp_path / "own", runtime)
    stage._READY.clear()
    seen = []
    update = TextAlignment.update
    monkeypatch.setattr(TextAlignment, "update", lambda self, *a: seen.append(a[0]) or update(self, *a))
    other = {**inputs, "data": few, "base_data": inputs["data"]}
    assert told_by(other, tmp_path / "other", runtime) == expected
    assert seen == ["samples"]
    assert expected["t"]["value"] > 0.1


def folder_of(inputs, path):
    """The held-out pictures as files, with their captions beside them."""
    path.mkdir()
    batch = next(ShardDataset(inputs["data"].path, "held_out").chunks(12))
    rows = []
    for number, (image, text) in enumerate(zip(batch["image"], batch["text"], strict=True)):
        pixels = ((image + 1) * 127.5).round().to(torch.uint8).movedim(0, -1)
        Image.fromarray(np.asarray(pixels)).save(path / f"{number:02}.png")
        rows.append(json.dumps({"file_name": f"{number:02}.png", "text": text}))
    (path / "metadata.jsonl").write_text("\n".join(rows))
    return str(path)


def test_a_folder_is_measured_against_data_with_captions_and_against_no_others(inputs, tmp_path):
    images = folder_of(inputs, tmp_path / "images")
    cfg = {"images": images, "reference": "data", "metrics": {"t": NODE}}
    evaluate(cfg, {"data": inputs["data"]}, Runtime(accelerator="cpu"), tmp_path)
    found = json.loads((tmp_path / "metrics.json").read_text())
    expected = told_by(inputs, tmp_path / "own", Runtime(accelerator="cpu"))
    assert found["t"]["value"] == pytest.approx(expected["t"]["value"], abs=1e-6)
    with pytest.raises(ConfigError, match=r"metrics\.t needs captions of the reference \(reference=data"):
        evaluate({**cfg, "reference": images}, {}, Runtime(accelerator="cpu"), tmp_path)
