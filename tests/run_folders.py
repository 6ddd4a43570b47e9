"""Folders as finished runs leave them, with numbers that are known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file

GUIDANCE = "condiff.diffusion.guidance.{}"
METRICS = {
    "class_accuracy": {"_target_": "condiff.evaluation.accuracy.ClassAccuracy"},
    "fd_judge": {
        "_target_": "condiff.evaluation.frechet.FrechetDistance",
        "fake": "samples",
        "real": "train",
    },
    "fd_judge_floor": {
        "_target_": "condiff.evaluation.frechet.FrechetDistance",
        "fake": "held_out",
        "real": "train",
    },
}


def config_of(
    scale: float = 2.0, seed: int = 0, target: str = "ClassifierFree", steps: int = 16
) -> dict[str, Any]:
    guidance = {"_target_": GUIDANCE.format(target), "scale": scale}
    return {
        "name": "study",
        "question": "why?",
        "stages": ["samples", "metrics"],
        "seed": seed,
        "guidance": guidance,
        "sampler": {"_target_": "condiff.diffusion.samplers.DDIM", "steps": steps},
        "metrics": METRICS,
        "runtime": {"cache": f"/somewhere/{seed}"},
        "logger": {"wandb": "off"},
    }


def metrics_of(accuracy: float, distance: float, n: int = 500, interval: float = 0.0) -> dict[str, Any]:
    def entry(value: float) -> dict[str, Any]:
        ends = [value - interval, value + interval] if interval else None
        return {"value": value, "n": n, "protocol": "samples, judge ab", "interval": ends}

    floor = {"value": 1.0, "n": n, "protocol": "held_out against train", "interval": None}
    return {"class_accuracy": entry(accuracy), "fd_judge": entry(distance), "fd_judge_floor": floor}


def leave(
    folder: Path,
    config: dict[str, Any],
    metrics: dict[str, Any],
    overrides: tuple[str, ...] = (),
    images: np.ndarray | None = None,  # [N, C, H, W] uint8
    trained: str = "shared",
    values: dict[str, np.ndarray] | None = None,  # of each sample, by metric
    asked: str = "digits",
) -> Path:
    """A run folder, with its samples beside it; ``trained`` is the key of its denoiser.

    ``asked`` stands for what the samples were to show.
    """
    folder.mkdir(parents=True)
    stages = {
        "data": {"key": "data0", "path": str(folder / "data"), "status": "cached", "seconds": 0.0},
        "denoiser": {"key": trained, "path": str(folder / "denoiser"), "status": "cached", "seconds": 0.0},
        "metrics": {
            "key": f"k_{folder.name}",
            "path": str(folder / "measured"),
            "status": "run",
            "seconds": 1.0,
        },
    }
    if images is not None:
        path = folder / "samples"
        path.mkdir()
        labels = np.arange(len(images), dtype=np.int64) % 10
        save_file({"image": np.ascontiguousarray(images), "label": labels}, path / "samples.safetensors")
        stages["samples"] = {"key": "s", "path": str(path), "status": "run", "seconds": 1.0}
    if values is not None:
        (folder / "measured").mkdir()
        save_file(values, folder / "measured" / "per_sample.safetensors", {"asked": asked})
    log = [{"stage": "denoiser", "step": step, "loss": 1 / (1 + step)} for step in range(0, 200, 10)]
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "stages.json").write_text(json.dumps(stages))
    (folder / "overrides.json").write_text(json.dumps([*overrides]))
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    return folder


def pictures(level: int, num: int = 12, channels: int = 1, size: int = 8) -> np.ndarray:
    """[N, C, H, W] uint8, all of one brightness."""
    return np.full((num, channels, size, size), level, np.uint8)
