"""What pictures are compared with in an evaluation: the study's data, other pictures, or their statistics."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from condiff.data.dataset import ShardDataset
from condiff.data.picture_sets import PictureSet, open_pictures
from condiff.data.source import DataInfo
from condiff.errors import DataError
from condiff.evaluation.measurement import Measurement
from condiff.evaluation.statistics import has_statistics, read_statistics
from condiff.stages.device import device
from condiff.stages.metrics import BATCH, Pictures, take_in, take_in_real
from condiff.stages.outside import DATA, content
from condiff.stages.pictures import from_uint8, to_uint8
from condiff.stages.stage import Artifact, Runtime
from condiff.stages.statistics import keep, recall

log = logging.getLogger(__name__)
Metrics = Mapping[str, Measurement]
FILE = "an .npz with mu and sigma"


class Reference(ABC):
    """Stands in the place of the training pictures; ``pictures`` are those of others, or None."""

    sides: tuple[str, ...] = ("train",)  # the sets of real pictures that it has
    pictures: PictureSet | None = None
    has_captions = False  # whether each of its pictures is said to show something

    def __init__(self, path: str, inputs: Mapping[str, Artifact], runtime: Runtime) -> None:
        self.path, self.inputs, self.runtime = path, inputs, runtime

    @abstractmethod
    def give(self, metrics: Metrics) -> None:
        """Give the metrics the statistics that are known already."""

    @abstractmethod
    def show(self, metrics: Metrics) -> None:
        """Show the metrics the pictures that they still want to see."""

    @abstractmethod
    def some(self, count: int) -> list[np.ndarray]:
        """A few of its pictures, [H, W, C] uint8, to be looked at."""

    @abstractmethod
    def told(self) -> str:
        """What it is, for a report."""


class StudyData(Reference):
    """``reference=data``: the pictures of the config's data, and those that it holds out."""

    sides = ("train", "held_out")

    def __init__(self, path: str, inputs: Mapping[str, Artifact], runtime: Runtime) -> None:
        super().__init__(path, inputs, runtime)
        self.train = ShardDataset(inputs["data"].path, "train")
        self.has_captions = self.train.has_text

    def give(self, metrics: Metrics) -> None:
        pass  # the moments of an earlier run are found when the pictures are shown

    def show(self, metrics: Metrics) -> None:
        take_in_real(metrics, self.inputs, self.runtime)

    def some(self, count: int) -> list[np.ndarray]:
        return [*to_uint8(next(self.train.chunks(count))["image"]).movedim(1, -1).numpy()]

    def told(self) -> str:
        return f"{len(self.train):,} of {DataInfo.read(self.inputs['data'].path).source}"


class Others(Reference):
    """A folder, an .npz of pictures, or a finished run."""

    pictures: PictureSet

    def __init__(
        self, path: str, inputs: Mapping[str, Artifact], runtime: Runtime, pictures: PictureSet
    ) -> None:
        super().__init__(path, inputs, runtime)
        self.pictures = pictures
        folder = runtime.statistics
        self.key = "" if folder is None else str(content([path], folder.parent))

    def give(self, metrics: Metrics) -> None:
        if has_statistics(self.path):  # ADM's files hold both: moments of all, and some of the pictures
            for line in _read(self.path, metrics)[1]:
                log.warning("%s; its pictures are measured instead", line)
        recall(metrics, self.key, self.runtime.statistics)

    def show(self, metrics: Metrics) -> None:
        classes = class_names(self.inputs)
        take_in(metrics, {"train": partial(shown, self.pictures, classes, device(self.runtime))})
        keep(metrics, self.key, self.runtime.statistics)

    def some(self, count: int) -> list[np.ndarray]:
        return self.pictures.some(count)

    def told(self) -> str:
        return f"{self.pictures.count:,} of {self.pictures.where}"


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

    def some(self, count: int) -> list[np.ndarray]:
        return []

    def told(self) -> str:
        return f"statistics of {self.path}"


def reference_of(path: str, inputs: Mapping[str, Artifact], runtime: Runtime) -> Reference:
    """The reference that a config names; DataError where there is none."""
    if path == DATA:
        return StudyData(path, inputs, runtime)
    pictures = find(path, "reference")
    if pictures is None:
        return StatisticsFile(path, inputs, runtime)
    return Others(path, inputs, runtime, pictures)


def find(path: str, key: str) -> PictureSet | None:
    """The pictures at a path, None where a reference is the data or statistics; DataError without any."""
    if key != "reference":
        return open_pictures(path, key)
    try:
        return None if path == DATA else open_pictures(path, key)
    except DataError as error:
        if has_statistics(path):
            return None
        raise DataError(*(f"{line}; or {FILE}, or data" for line in error.lines)) from error


def shown(pictures: PictureSet, classes: Sequence[str], place: torch.device) -> Pictures:
    """Images, [B, C, H, W] in [-1, 1], and labels, [B]: of the classes, or of classes of the set's own."""
    classes = classes if pictures.labelled(classes) else pictures.classes()
    index = {name: number for number, name in enumerate(classes)}
    labelled = pictures.labelled(classes)
    for images, said in pictures.batches(BATCH):
        label = said if isinstance(said, Tensor) else None
        if labelled and label is None:
            label = torch.tensor([index[str(name)] for name in said])
        yield from_uint8(images.to(place)), None if label is None else label.to(place), None


def class_names(inputs: Mapping[str, Artifact]) -> list[str]:
    return DataInfo.read(inputs["data"].path).class_names if "data" in inputs else []


def _read(path: str, metrics: Metrics) -> tuple[int, list[str]]:
    """Give each metric its statistics: how many have taken them, and a line for each that could not."""
    taken, refused, found = 0, [], {}
    for name, metric in metrics.items():
        wanted = metric.wanted_real()
        if wanted is not None and wanted[0] == "train":
            extractor = wanted[1]
            try:
                if extractor.name not in found:
                    found[extractor.name] = read_statistics(path, extractor)
                metric.take_real(found[extractor.name])
                taken += 1
            except ValueError as error:
                refused.append(f"reference: for metrics.{name}, {error}")
    return taken, refused
