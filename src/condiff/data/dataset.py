"""Whole batches out of shards."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from condiff.data.npy import from_npy
from condiff.data.pictures import EXTENSIONS, Unreadable
from condiff.data.sample import CONTROL, FRAMING, Sample, Shard
from condiff.data.shard_order import ShardOrder
from condiff.data.shards import Shards
from condiff.data.source import DESCRIPTION, DataInfo
from condiff.data.streamed import opened
from condiff.errors import DataError
from condiff.progress import track

Read = Callable[[Sample], Tensor]
_ARRAYS = {"npy": "moments", "mirror.npy": "mirrored", "source.npy": "source", FRAMING: "framing"}
_GIB = 2**30
_MANY = 20_000  # from here on reading takes long enough for a bar


class Batch(TypedDict, total=False):
    """Examples of one step; a field is there if the shards have its member."""

    key: list[str]
    image: Tensor  # [B, C, H, W] float32 in [-1, 1]
    moments: Tensor  # [B, 2C, h, w] float32, mean ++ log variance
    mirrored: Tensor  # the same of the mirrored pictures
    control: Tensor  # [B, C, H, W] float32 in [0, 1], a hint of what the image shows
    source: Tensor  # [B, C, H, W], what an image was made from: a picture, or its latent as it is
    framing: Tensor  # [B, 6], how pictures were cut from larger ones
    label: Tensor  # [B] int64
    text: list[str]
    step: int  # index k of the batch
    place: Tensor  # [B] int64 places in the global batch


class ShardDataset(Dataset[Batch]):
    """A split of a prepared folder; what decodes to at most ``held_bytes`` is held in memory."""

    def __init__(self, folder: Path, split: str, held_bytes: int = _GIB) -> None:
        self.folder, self.split = folder, split
        self.shards = opened(folder, split)
        self.keys, self.runs = self.shards.keys, self.shards.index.runs()
        self.has_text = self.shards.has("txt")
        self._tensors: dict[str, Read] = {}
        image = next((name for name in EXTENSIONS if self.shards.has(name)), None)
        if image:
            self._tensors["image"] = partial(_pixels, self.shards, extension=image)
        if self.shards.has("source.png"):
            self._tensors["source"] = partial(_pixels, self.shards, extension="source.png")
        if self._needs(CONTROL):
            self._tensors["control"] = partial(_pixels, self.shards, extension=CONTROL)
        for member, name in _ARRAYS.items():
            if self.shards.has(member):
                self._tensors[name] = partial(_array, extension=member)
        firsts = [self.shards.samples[run.start] for run in self.runs if self._tensors]
        self._first = [{name: read(first) for name, read in self._tensors.items()} for first in firsts]
        nbytes = sum(value.nbytes for first in self._first[:1] for value in first.values())
        self.held = nbytes * len(self) <= held_bytes and not self.is_streamed

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def is_streamed(self) -> bool:
        """Whether shards come when they are read."""
        return self.shards.order is not None

    @property
    def orders(self) -> list[ShardOrder | None]:
        """Of each of the sets that batches are of: the order that it is to be read in, if not in any."""
        return [self.shards.order]

    def needs(self, rows: Iterable[tuple[int, int, int]]) -> set[Shard]:
        """The shards of (step, place, index) rows."""
        return {self.shards.index.shard(index) for _, _, index in rows}

    @property
    def shapes(self) -> list[tuple[int, int] | None]:
        """Of the pictures of each run, None for squares."""
        return [self.shards.samples[run.start].shape for run in self.runs if run]

    @property
    def sizes(self) -> list[list[int]]:
        """Of each of the sets that batches are of, here one: the numbers of examples of one shape."""
        return [[len(run) for run in self.runs]]

    @cached_property
    def is_mirrored(self) -> bool:
        """Whether a training is to mirror half of what it sees."""
        described = (self.folder / DESCRIPTION).is_file()
        return DataInfo.read(self.folder).mirror if described else "mirrored" in self._tensors

    def __getitems__(self, rows: Sequence[tuple[int, int, int]]) -> Batch:
        """The batch of (step, place, index) rows, all of one step."""
        steps, places, indices = zip(*rows, strict=True)
        return self._batch(steps[0], places, indices)

    def chunks(self, size: int, rows: range | None = None) -> Iterator[Batch]:
        """Every example of ``rows``, or of all, once and in order; its place is its index.

        Those of a chunk have one shape. None of those that there are is one batch without examples.
        """
        rows = range(len(self)) if rows is None else rows
        found = [part for run in self.runs for part in _parts(run, rows, size)] or [rows[:0]]
        for step, indices in enumerate(found if len(self) else ()):
            yield self._batch(step, indices, indices)

    @cached_property
    def labels(self) -> Tensor | None:
        """[N] int64, or None if an example has none."""
        labels = self.shards.index.labels()
        return None if labels is None else torch.from_numpy(labels)

    def _batch(self, step: int, places: Sequence[int], indices: Sequence[int]) -> Batch:
        at = torch.as_tensor(indices, dtype=torch.int64)
        rows = [] if self.held else [self.shards.samples[index] for index in indices]
        keys = [self._names[index] for index in indices] if self.held else [sample.key for sample in rows]
        batch = Batch(key=keys, step=step, place=torch.as_tensor(places, dtype=torch.int64))
        if "image" in self._tensors:
            batch["image"] = self._take("image", at, rows).float().div_(127.5).sub_(1)
        if "moments" in self._tensors:
            batch["moments"] = self._take("moments", at, rows)
        if "mirrored" in self._tensors:
            batch["mirrored"] = self._take("mirrored", at, rows)
        if "framing" in self._tensors:
            batch["framing"] = self._take("framing", at, rows)
        if "source" in self._tensors:
            source = self._take("source", at, rows)
            batch["source"] = source if source.is_floating_point() else source.float().div_(127.5).sub_(1)
        if "control" in self._tensors:
            batch["control"] = self._take("control", at, rows).float().div_(255)
        if self.labels is not None:
            batch["label"] = self.labels.index_select(0, at)
        if self.has_text:
            batch["text"] = [self._texts[index] for index in indices] if self.held else [*map(_text, rows)]
        return batch

    def text(self, index: int) -> str:
        """The caption of an example."""
        return self._texts[index] if self.held else _text(self.shards.samples[index])

    def _needs(self, extension: str) -> bool:
        """Whether a member is there; DataError where some samples have it and another does not."""
        lacking, there = self.shards.index.lacking(extension), self.shards.index.some_have(extension)
        if there and lacking is not None:
            raise DataError(f"{lacking}: has no .{extension}, which others have; each sample needs one")
        return there

    def _take(self, name: str, at: Tensor, rows: Sequence[Sample]) -> Tensor:
        run = bisect_right(self.runs, int(at[0]), key=lambda run: run.start) - 1 if len(at) else 0
        if self.held:
            return self._whole[run][name].index_select(0, at - self.runs[run].start)
        return self._stack(name, run, rows)

    @cached_property
    def _whole(self) -> list[dict[str, Tensor]]:
        """Of each run."""
        runs = [(run, self.shards.samples[rows.start : rows.stop]) for run, rows in enumerate(self.runs)]
        return [{name: self._stack(name, run, rows) for name in self._tensors} for run, rows in runs]

    def _stack(self, name: str, run: int, rows: Sequence[Sample]) -> Tensor:
        """Of some samples of a run."""
        first, one = self._first[run][name], self.keys[self.runs[run].start]
        whole = first.new_empty((len(rows), *first.shape))
        for place, row in enumerate(track(rows, len(rows), "reading shards") if len(rows) > _MANY else rows):
            value = self._tensors[name](row)
            if value.shape != first.shape:
                raise DataError(f"{row}: has shape {[*value.shape]}, but {one} {[*first.shape]}")
            whole[place] = value
        return whole

    @cached_property
    def _names(self) -> list[str]:
        """The keys, of a set held in memory."""
        return [*self.keys]

    @cached_property
    def _texts(self) -> list[str]:
        return [_text(sample) for sample in self.shards.samples]


def _parts(run: range, rows: range, size: int) -> list[range]:
    """What a run has of some rows, at most so many at a time."""
    start, stop = max(run.start, rows.start), min(run.stop, rows.stop)
    return [range(first, min(first + size, stop)) for first in range(start, stop, size)]


def _pixels(shards: Shards, sample: Sample, extension: str) -> Tensor:
    """[C, H, W] uint8"""
    try:
        image = shards.pixels(sample, extension)
    except Unreadable as error:
        raise DataError(f"{sample}: .{extension} {error}") from error
    return torch.from_numpy(image).reshape(*image.shape[:2], -1).permute(2, 0, 1)


def _array(sample: Sample, extension: str) -> Tensor:
    """float32, of any shape"""
    try:
        values = torch.from_numpy(from_npy(sample.read(extension)).astype(np.float32))
    except ValueError as error:
        raise DataError(f"{sample}: .{extension} cannot be read ({error})") from error
    if not bool(values.isfinite().all()):
        raise DataError(f"{sample}: .{extension} holds values that are not finite; encode again")
    return values


def _text(sample: Sample) -> str:
    try:
        return sample.read("txt").decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{sample}: .txt is not UTF-8 ({error})") from error
