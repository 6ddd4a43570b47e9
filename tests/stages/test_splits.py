"""What two trainings of a study read is decoded once."""

from pathlib import Path

import numpy as np
import torch

from condiff.data.pictures import to_png
from condiff.data.shards import ShardWriter
from condiff.stages.splits import load_split
from condiff.stages.stage import Artifact


def _written(folder: Path, value: int) -> Artifact:
    folder.mkdir()
    with ShardWriter(folder, "train") as shards:
        shards.write("a", {"png": to_png(np.full((8, 8, 3), value, np.uint8))})
    return Artifact(folder.name, folder, {})


def test_the_next_training_has_what_the_last_one_decoded(tmp_path: Path) -> None:
    artifact = _written(tmp_path / "one", 255)
    first = load_split(artifact, "train")
    image = next(first.chunks(1))["image"]
    (tmp_path / "one" / "train-000000.tar").unlink()

    again = load_split(Artifact("one", tmp_path / "one", {"read": "anew"}), "train")

    assert again is first
    assert torch.equal(next(again.chunks(1))["image"], image)


def test_another_artifact_is_read_for_itself(tmp_path: Path) -> None:
    one, other = _written(tmp_path / "one", 255), _written(tmp_path / "other", 0)

    shown = [
        next(load_split(artifact, "train").chunks(1))["image"].mean().item() for artifact in (one, other, one)
    ]

    assert shown == [1, -1, 1]
