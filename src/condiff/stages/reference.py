"""What pictures are compared with in an evaluation: the study's data, other pictures, or their statistics."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from condiff.data.dataset import ShardDataset
from condiff.data.picture_sets import Pictures, PictureSet, open_pictures
from condiff.data.source import DataInfo
from condiff.errors import DataError
from condiff.evaluation.measurement import Measurement
from condiff.evaluation.statistics import has_statistics, read_statistics
from condiff.stages.device import device
from condiff.stages.metrics import BATCH, take_in, take_in_real
from condiff.stages.outside import DATA, content
from condiff.stages.pictures import from_uint8, to_uint8
from condiff.stages.stage import Artifact, Runtime
from condiff.stages.statistics import keep, recall

log = logging.getLogger(__name__)
Metrics = Mapping[str, Measurement]
FILE = "an .npz with mu and sigma"


class Reference(ABC):
    """Stands in the place of the training pictures; ``pictures`` are there to be looked at, or None."""

    sides: tuple[str, ...] = ("train",)  # the sets of real pictures that it has
    pictures: PictureSet | None = None

    def __init__(self, path: str, inputs: Mapping[str, Artifact], runtime: Runtime) -> None:
        self.path, self.inputs, self.runtime = path, inputs, runtime

    @abstractmethod
    def give(self, metrics: Metrics) -> None:
        """Give the metrics the statistics that are known already."""

    @abstractmethod
    def show(self, metrics: Metrics) -> None:
        """Show the metrics the pictures that they still want to see."""

    def told(self) -> str:
        assert self.pictures is not None
        return f"{self.pictures.count:,} of {self.pictures.where}"


class StudyData(Reference):
    """``reference=data``: the pictures of the config's data, and those that it holds out."""

    sides = ("train", "held_out")

    def __init__(self, path: str, inputs: Mapping[str, Artifact], runtime: Runtime) -> None:
        super().__init__(path, inputs, runtime)
        self.pictures = Prepared(inputs["data"])

    def give(self, metrics: Metrics) -> None:
        pass  # the moments of an earlier run are found when the pictures are shown

    def show(self, metrics: Metrics) -> None:
        take_in_real(metrics, self.inputs, self.runtime)


class Others(Reference):
    """A folder, an .npz of pictures, or a finished run."""

    def __init__(self, path: str, inputs: Mapping[str, Artifact], runtime: Runtime) -> None:
        super().__init__(path, inputs, runtime)
        self.pictures = open_pictures(path, "reference")
        folder = runtime.statistics
        self.key = "" if folder is None else str(content([path], folder.parent))

    def give(self, metrics: Metrics) -> None:
        if has_statistics(self.path):  # ADM's files hold both: moments of all, and some of the pictures
            for line in _read(self.path, metrics)[1]:
                log.warning("%s; its pictures are measured instead", line)
        recall(metrics, self.key, self.runtime.statistics)

    def show(self, metrics: Metrics) -> None:
        assert self.pictures is not None
        classes = class_names(self.inputs)
        take_in(metrics, {"train": partial(shown, self.pictures, classes, device(self.runtime))})
        keep(metrics, self.key, self.runtime.statistics)


class StatisticsFile(Reference):
    """An .npz of moments: distances to it, and nothing else."""

    sides = ()

    def give(self, metrics: Metrics) -> None:
        taken, refused = _read(self.path, metrics)
        if refused and not taken:
            raise DataError(*refused)
        for line in refused:
            log.warning(line)

    def show(self, metrics: Metrics) -> None:
        pass  # there are none

    def told(self) -> str:
        return f"statistics of {self.path}"


class Prepared(PictureSet):
    """The training pictures of the data."""

    def __init__(self, data: Artifact) -> None:
        self.dataset, self.where = ShardDataset(data.path, "train"), DataInfo.read(data.path).source
        self.count = len(self.dataset)

    def batches(self, most: int) -> Iterator[Pictures]:
        for batch in self.dataset.chunks(most):
            yield to_uint8(batch["image"]), batch.get("label", [None] * len(batch["image"]))

    def some(self, count: int) -> list[np.ndarray]:
        first = next(self.dataset.chunks(count))
        return [*to_uint8(first["image"]).movedim(1, -1).numpy()]


def reference_of(path: str, inputs: Mapping[str, Artifact], runtime: Runtime) -> Reference:
    """The reference that a config names; DataError where there is none."""
    return _kind(path)(path, inputs, runtime)


def find(path: str, key: str) -> None:
    """DataError unless there is something to measure, or to measure it against."""
    if key != "reference" or _kind(path) is Others:
        open_pictures(path, key)


def shown(
    pictures: PictureSet, classes: Sequence[str], place: torch.device
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Images, [B, C, H, W] in [-1, 1], and labels, [B]: of the classes, or of classes of the set's own."""
    classes = classes if pictures.labelled(classes) else pictures.classes()
    index = {name: number for number, name in enumerate(classes)}
    labelled = pictures.labelled(classes)
    for images, said in pictures.batches(BATCH):
        label = said if isinstance(said, Tensor) else None
        if labelled and label is None:
            label = torch.tensor([index[str(name)] for name in said])
        yield from_uint8(images.to(place)), None if label is None else label.to(place)


def class_names(inputs: Mapping[str, Artifact]) -> list[str]:
    return DataInfo.read(inputs["data"].path).class_names if "data" in inputs else []


def _kind(path: str) -> type[Reference]:
    if path == DATA:
        return StudyData
    try:
        open_pictures(path, "reference")
        return Others
    except DataError as error:
        if has_statistics(path):
            return StatisticsFile
        raise DataError(*(f"{line}; or {FILE}, or data" for line in error.lines)) from error


def _read(path: str, metrics: Metrics) -> tuple[int, list[str]]:
    """Give each metric its statistics: how many have taken them, and a line for each that could not."""
    taken, refused = 0, []
    for name, metric in metrics.items():
        wanted = metric.wanted_real()
        if wanted is not None and wanted[0] == "train":
            try:
                metric.take_real(read_statistics(Path(path), wanted[1]))
                taken += 1
            except ValueError as error:
                refused.append(f"reference: for metrics.{name}, {error}")
    return taken, refused
