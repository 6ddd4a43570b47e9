"""A split that stays behind its URLs: its index lies here, and a shard comes when it is read."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from condiff.data.download import Link
from condiff.data.fetched import Fetch
from condiff.data.pictures import EXTENSIONS, Frame, decode, to_png
from condiff.data.sample import CONTROL, Sample, Shard
from condiff.data.shard_cache import ShardCache
from condiff.data.shard_order import ShardOrder
from condiff.data.shards import INDEX, Shards
from condiff.errors import DataError
from condiff.files import digest, written_whole

FETCH: ContextVar[Fetch | None] = ContextVar(
    "fetch", default=None
)  # how shards come now, if not as by default


@dataclass(frozen=True, kw_only=True)
class FarShard(Shard):
    """A tar behind a URL, in the cache while it is read; the stamp is what its server said of it."""

    stamp: tuple[Any, ...]
    cache: ShardCache
    link: Link

    @contextmanager
    def held(self) -> Iterator[Path]:
        name = digest([self.name, [*self.stamp]])[:32]
        with self.cache.held(name, self._fill, self.size) as path:
            yield path

    def _fill(self, to: Path) -> None:
        _, sha256 = self.link.download(self.name, to)
        if sha256 != self.sha256:
            raise DataError(f"data.urls: {self.name}: has changed since it was looked at; run again")


class Streamed(Shards):
    """Pictures as they came, fitted when they are read; otherwise as if they had been prepared."""

    def __init__(self, found: Shards, head: dict[str, Any]) -> None:
        super().__init__(found.index)
        self.max_pixels = int(head["max_pixels"])
        height, width = head["frame"]
        self.frames = {name: Frame(height, width, head[name]) for name in ("channels", "control")}
        self.order = ShardOrder(found.index.counts(), head["streamed"] == "resampled")

    def read(self, index: int, extension: str) -> bytes:
        if extension in (CONTROL, *EXTENSIONS):
            return to_png(self.pixels(self.samples[index], extension))
        return super().read(index, extension)

    def pixels(self, sample: Sample, extension: str) -> np.ndarray:
        frame = self.frames["control" if extension == CONTROL else "channels"]
        return np.array(frame.fit(decode(sample.read(extension), self.max_pixels)))


def opened(folder: Path, split: str) -> Shards:
    """The shards of a prepared folder, wherever they are."""
    path = folder / INDEX.format(split)
    head = _head(path)
    if head is None:
        return Shards.open(folder, split)
    fetch = FETCH.get() or Fetch()
    link = Link(fetch.timeout, fetch.patience, tuple(head["schemes"]))
    return Streamed(Shards.listed(path, str(path), partial(_far, fetch.cache, link)), head)


def write_index(folder: Path, split: str, rows: Iterable[dict[str, Any]]) -> None:
    """Of a split that stays where it is: the head, then each shard's samples before the shard."""
    count = 0
    with (
        written_whole(folder / INDEX.format(split)) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        for row in rows:
            count += "key" in row
            file.write(json.dumps(row) + "\n")
        file.write(json.dumps({"split": split, "num_samples": count}) + "\n")


def _head(path: Path) -> dict[str, Any] | None:
    """The first line of such an index; None of any other, or of none."""
    try:
        with path.open(encoding="utf-8") as file:
            head = json.loads(file.readline())
    except (OSError, ValueError):
        return None
    return head if isinstance(head, dict) and "streamed" in head else None


def _far(cache: ShardCache, link: Link, row: dict[str, Any]) -> FarShard:
    size, sha256, stamp = int(row["size"]), str(row["sha256"]), tuple(row["stamp"])
    return FarShard(Path(), size, sha256, str(row["shard"]), stamp=stamp, cache=cache, link=link)
