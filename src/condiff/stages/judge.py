"""Train the judge of samples, and see how well it does on pictures it never saw."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch

from condiff.config.build import build
from condiff.config.needed_stages import WITHOUT_LABELS
from condiff.data.dataset import ShardDataset
from condiff.data.source import DataInfo
from condiff.errors import ConfigError
from condiff.evaluation.judge import Judge
from condiff.files import write_json
from condiff.stages.device import device
from condiff.stages.splits import load_split
from condiff.stages.stage import KEPT, Artifact, Config, Runtime
from condiff.stages.training import fit
from condiff.stages.weights import load_weights

SEED = 0  # one judge for every seed of a study, so that their numbers compare


def train(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    folder, judge_cfg = inputs["data"].path, cfg["judge"]
    judge = _built(judge_cfg, DataInfo.read(folder))
    method = build(
        judge_cfg["method"],
        "judge.method",
        judge=judge,
        optimizer=build(judge_cfg["optimizer"], "judge.optimizer"),
        training=build(judge_cfg["trainer"], "judge.trainer"),
        seed=SEED,
    )
    fit("judge", method, load_split(inputs["data"], "train"), runtime, out)
    if not runtime.ranks.leads:
        return
    load_weights(judge, out)
    right = _held_out_accuracy(judge.to(device(runtime)), ShardDataset(folder, "held_out"), runtime)
    write_json(out / "judge.json", right)


@lru_cache(KEPT)
def load_judge(judge: Artifact, data: Artifact) -> Judge:
    """The trained judge, in evaluation mode."""
    module = _built(judge.manifest["config"]["judge"], DataInfo.read(data.path))
    load_weights(module, judge.path)
    return module.eval()


def _built(judge_cfg: Config, info: DataInfo) -> Judge:
    if not info.num_classes:
        raise ConfigError(f"judge: needs labelled data, and this data has no labels; {WITHOUT_LABELS}")
    torch.manual_seed(SEED)
    return build(
        judge_cfg["network"],
        "judge.network",
        channels=info.channels,
        num_classes=info.num_classes,
        size=info.size,
    )


@torch.no_grad()
def _held_out_accuracy(judge: Judge, held_out: ShardDataset, runtime: Runtime) -> dict[str, float]:
    judge.eval()
    right = sum(
        int((judge.logits(batch["image"].to(device(runtime))).argmax(1).cpu() == batch["label"]).sum())
        for batch in held_out.chunks(250)
    )
    return {"held_out_accuracy": right / len(held_out), "n": len(held_out)}
