"""WebDataset shards with an index beside them: written in a stream, read at random.

A shard is a plain tar of members KEY.EXTENSION that any WebDataset reader opens. The index
``index-SPLIT.jsonl`` holds a line for every sample (key, label, [offset, size] of each member, and the
shape of a picture that is no square), after the samples of a shard a line for the shard (name, size,
sha256), and a last line for the split.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from condiff.data.index import Index, Rows
from condiff.data.pictures import decode
from condiff.data.sample import ALLOWED, Sample, Shard
from condiff.data.shard_order import ShardOrder
from condiff.data.tar_stream import TarStream
from condiff.errors import DataError
from condiff.files import file_digest, written_whole

INDEX = "index-{}.jsonl"  # of a split
_SHARD_BYTES = 256 * 2**20
_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")


class Shards:
    """The samples of a split, by number."""

    order: ShardOrder | None = None  # that of a training, where not any will do

    def __init__(self, index: Index) -> None:
        self.index, self.shards = index, index.shards
        self.samples = Rows(index.sample, range(len(index)))
        self.keys = Rows(index.key, range(len(index)))
        self.labels = Rows(index.label, range(len(index)))

    @classmethod
    def open(cls, folder: Path, split: str) -> "Shards":
        """By the index in ``folder``; every shard must be there with its size (``verify``: its content)."""
        path = folder / INDEX.format(split)
        found = cls.listed(path, str(path))
        lines = [line for shard in found.shards if (line := _size_fault(shard))]
        if lines:
            raise DataError(*lines)
        return found

    @classmethod
    def listed(cls, path: Path, shown: str, shard: Callable[..., Shard] | None = None) -> "Shards":
        """By an index, ``shown`` in messages; its shards, by ``shard`` or beside it, are not looked at."""
        try:
            return _parse(path, shard or partial(_shard, path.parent))
        except OSError as error:
            raise DataError(f"{shown}: cannot be read ({error.strerror}); prepare the data again") from error
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise DataError(f"{shown}: is no whole index of shards ({error}); prepare it again") from error

    def verify(self) -> None:
        """Compare the content of every shard with its sha256."""
        for shard in self.shards:
            found = file_digest(shard.path)
            if found != shard.sha256:
                raise DataError(f"{shard.path}: sha256 is {found}; its index says {shard.sha256}")

    def __len__(self) -> int:
        return len(self.index)

    def has(self, extension: str) -> bool:
        """Whether every sample has this member."""
        return self.index.some_have(extension) and self.index.lacking(extension) is None

    def read(self, index: int, extension: str) -> bytes:
        return self.samples[index].read(extension)

    def pixels(self, sample: Sample, extension: str) -> np.ndarray:
        """A picture of a sample, [H, W] or [H, W, 3] uint8; Unreadable if it is none."""
        return np.array(decode(sample.read(extension)))


class ShardWriter:
    """Writes a split sample by sample; memory holds one sample and the keys.

    Same samples, same bytes. The index appears when the ``with`` block ends well: no index, no split.
    """

    def __init__(self, folder: Path, split: str, shard_bytes: int = _SHARD_BYTES) -> None:
        self.folder, self.split, self.shard_bytes = folder, split, shard_bytes
        self._keys: set[str] = set()
        self._num_shards = 0
        self._tar: TarStream | None = None
        self._whole = ExitStack()

    def __enter__(self) -> "ShardWriter":
        index = self._whole.enter_context(written_whole(self.folder / INDEX.format(self.split)))
        self._index = self._whole.enter_context(index.open("w", encoding="utf-8"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            if self._tar is not None:
                self._tar.file.close()
            self._whole.__exit__(kind, error, trace)
            return
        with self._whole:
            self._close_shard()
            self._line({"split": self.split, "num_samples": len(self._keys)})

    def write(self, key: str, members: Mapping[str, bytes], shape: tuple[int, int] | None = None) -> None:
        """Members by extension, e.g. {"png": ..., "cls": b"3"}; cls also becomes the index's label.

        shape: height and width of a picture that is no square.
        """
        unknown = set(members) - set(ALLOWED)
        if not _KEY.fullmatch(key) or unknown or not members:
            raise DataError(f"{self.split}:{key}: {sorted(unknown) or 'key'} cannot stand in a shard")
        if key in self._keys:
            raise DataError(f"{self.split}:{key}: the key is there twice; keys name one sample")
        self._keys.add(key)
        if self._tar is not None and self._tar.size >= self.shard_bytes:
            self._close_shard()
        if self._tar is None:
            self._tar = TarStream((self.folder / f"{self.split}-{self._num_shards:06d}.tar").open("wb"))
        places = {name: self._tar.add(f"{key}.{name}", data) for name, data in members.items()}
        label = int(members["cls"]) if "cls" in members else None
        told = {} if shape is None else {"shape": shape}
        self._line({"key": key, "label": label, "members": places, **told})

    def _close_shard(self) -> None:
        if self._tar is None:
            return
        path = Path(self._tar.file.name)
        sha256 = self._tar.close()
        self._line({"shard": path.name, "size": self._tar.size, "sha256": sha256})
        self._tar, self._num_shards = None, self._num_shards + 1

    def _line(self, row: dict[str, Any]) -> None:
        self._index.write(json.dumps(row) + "\n")


def _parse(path: Path, shard: Callable[..., Shard]) -> Shards:
    index = Index()
    last: dict[str, Any] = {}
    with path.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if "key" in row:
                _add(index, row)
            elif "shard" in row:
                index.end(shard(row))
            last = row
    if last.get("num_samples") != len(index) or index.num_added != len(index):
        raise ValueError("its last line is missing")
    if index.twice():
        raise ValueError("a key is there twice")
    return Shards(index)


def _shard(folder: Path, row: dict[str, Any]) -> Shard:
    if Path(row["shard"]).name != row["shard"]:
        raise ValueError(f"{row['shard']} is no file beside the index")
    return Shard(folder / row["shard"], int(row["size"]), str(row["sha256"]))


def _add(index: Index, row: dict[str, Any]) -> None:
    label = None if row["label"] is None else int(row["label"])
    height, width = row.get("shape", (0, 0))
    shape = (int(height), int(width)) if height else None
    index.add(str(row["key"]), label, row["members"], shape, row.get("told"))


def _size_fault(shard: Shard) -> str | None:
    if not shard.path.is_file():
        return f"{shard.path}: is missing; its index expects {shard.size} bytes"
    size = shard.path.stat().st_size
    return f"{shard.path}: has {size} bytes; its index says {shard.size}" if size != shard.size else None
