"""Event files for tensorboard: ``tensorboard --logdir RUN/tensorboard``, or a folder of many runs."""

import json
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from condiff.errors import EnvironmentFault
from condiff.stages.loggers.logger import Outcome, Told, Training

FOLDER = "tensorboard"


class Tensorboard:
    """A folder for each training, and one for the study with its config, metrics and samples."""

    def __init__(self) -> None:
        if find_spec("tensorboard") is None:
            raise EnvironmentFault(
                'logger.tensorboard: tensorboard is not installed; pip install -e ".[tensorboard]"'
            )
        self.training: Any = None

    def start(self, told: Told) -> None:
        self.folder = told.folder / FOLDER
        self.study = self._writer("study")
        about = {"commit": told.commit, "stage_keys": dict(told.keys), **told.config}
        self.study.add_text("config", _quoted(yaml.safe_dump(about, sort_keys=False)))

    def begin(self, training: Training) -> None:
        self.training = self._writer(training.stage)
        about = {"key": training.key, "config": training.config, "model": training.model}
        self.training.add_text("about", _quoted(json.dumps(about, indent=2)))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.training.add_scalar(name, value, step)

    def picture(self, step: int, path: Path) -> None:
        self.training.add_image("pictures", _pixels(path), step, dataformats="HWC")

    def end(self) -> None:
        self.training.close()
        self.training = None

    def result(self, outcome: Outcome) -> None:
        """A metric with an interval has three numbers in one group."""
        for name, metric in outcome.metrics.items():
            self.study.add_scalar(f"{name}/value", metric["value"], 0)
            self.study.add_scalar(f"{name}/n", metric["n"], 0)
            for end, bound in zip(("low", "high"), metric["interval"] or (), strict=False):
                self.study.add_scalar(f"{name}/{end}", bound, 0)
        if outcome.samples.is_file():
            self.study.add_image("samples", _pixels(outcome.samples), 0, dataformats="HWC")

    def finish(self, exit_code: int) -> None:
        for writer in (self.training, self.study):
            if writer is not None:
                writer.close()

    def _writer(self, name: str) -> Any:
        return import_module("torch.utils.tensorboard").SummaryWriter(str(self.folder / name))


def _quoted(text: str) -> str:
    """Text that tensorboard shows as it stands: it reads Markdown, where an indented block is code."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def _pixels(path: Path) -> Any:
    """[H, W, 3] uint8, transparent paper as white."""
    image = import_module("PIL.Image")
    picture = image.open(path).convert("RGBA")
    paper = image.new("RGBA", picture.size, "white")
    return import_module("numpy").asarray(image.alpha_composite(paper, picture).convert("RGB"))
