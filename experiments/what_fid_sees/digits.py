"""Real digits, and the judge that the judge stage trains on their training half."""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import yaml
from torch import Tensor

from condiff.data.dataset import ShardDataset
from condiff.data.mnist import Mnist
from condiff.data.prepare import prepare
from condiff.evaluation.judge import Judge
from condiff.stages import judge as stage
from condiff.stages.stage import Artifact, Runtime

HELD_OUT_PER_CLASS = 300
JUDGE = Path(__file__).parents[2] / "conf" / "judge" / "small.yaml"


@dataclass(frozen=True)
class Digits:
    train: Tensor  # [N, 1, 32, 32] in [-1, 1]
    train_label: Tensor  # [N] int64
    held_out: Tensor  # [M, 1, 32, 32]
    label: Tensor  # [M] int64, of the held-out pictures
    judge: Judge
    accuracy: float  # of the judge on the held-out pictures


def digits() -> Digits:
    with TemporaryDirectory() as folder:
        data, out = Artifact("data", Path(folder, "data"), {}), Path(folder, "judge")
        for path in (data.path, out):
            path.mkdir()
        prepare(Mnist(held_out_per_class=HELD_OUT_PER_CLASS), data.path)
        cfg = {"judge": yaml.safe_load(JUDGE.read_text())}
        stage.train(cfg, {"data": data}, Runtime(accelerator="cpu"), out)
        judge = stage.load_judge(Artifact("judge", out, {"config": cfg}), data)
        accuracy = json.loads((out / "judge.json").read_text())["held_out_accuracy"]
        sides = [_whole(data.path, split) for split in ("train", "held_out")]
    return Digits(*sides[0], *sides[1], judge, accuracy)


def _whole(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    batches = list(ShardDataset(folder, split).chunks(500))
    return torch.cat([batch["image"] for batch in batches]), torch.cat([batch["label"] for batch in batches])
