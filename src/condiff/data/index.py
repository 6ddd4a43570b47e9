"""The samples of a split in arrays, since millions of them are too many for objects."""

import json
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from operator import eq
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np

from condiff.data.npy import to_npy
from condiff.data.sample import ALLOWED, MAX_MEMBER, Sample, Shard

T = TypeVar("T")
_UTF8 = ("utf-8", "surrogatepass")  # as tars name their members in any bytes
_packed = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Rows(Sequence[T]):
    """What ``at`` gives for some numbers, each made anew when it is asked for."""

    def __init__(self, at: Callable[[int], T], numbers: range) -> None:
        self.at, self.numbers = at, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> "Rows[T]": ...
    def __getitem__(self, place: int | slice) -> "T | Rows[T]":
        found = self.numbers[place]
        return Rows(self.at, found) if isinstance(found, range) else self.at(found)

    def __iter__(self) -> Iterator[T]:
        return map(self.at, self.numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # pyright: ignore[reportAssignmentType]  (as of a list)


class _Layout(NamedTuple):
    """What samples have alike, so that a set knows few of them."""

    members: tuple[str, ...]
    told: tuple[str, ...]
    shape: tuple[int, int] | None

    def has(self, extension: str) -> bool:
        return extension in self.members or extension in self.told


class Told(Mapping[str, bytes]):
    """Members that an index holds itself: texts, and arrays of int64 as the bytes of a .npy.

    They stay the JSON list of their values until one is asked for.
    """

    def __init__(self, names: tuple[str, ...], data: bytes) -> None:
        self.names, self.data = names, data

    def __getitem__(self, name: str) -> bytes:
        if name not in self.names:
            raise KeyError(name)
        value = json.loads(self.data)[self.names.index(name)]
        return value.encode() if isinstance(value, str) else to_npy(_integers(value))

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class Index:
    """Samples, shard after shard: ``add`` those of a shard, then ``end`` it.

    A sample takes 37 bytes, 12 for each member in a shard, those of its key, and those of what is told.
    """

    def __init__(self) -> None:
        self.shards: list[Shard] = []
        self._starts = [0]  # number of the first sample of each shard, and of the next one
        self._keys, self._key_ends = bytearray(), array("q", [0])
        self._labels, self._has_label = array("q"), bytearray()
        self._layouts: dict[_Layout, int] = {}
        self._layout, self._by_number = array("I"), list[_Layout]()
        self._members = array("q", [0])  # number of the first member of each sample, and of the next one
        self._offsets, self._sizes = array("q"), array("i")
        self._told, self._told_ends = bytearray(), array("q", [0])

    def add(
        self,
        key: str,
        label: int | None,
        members: Mapping[str, Sequence[int]],
        shape: tuple[int, int] | None = None,
        told: Mapping[str, Any] | None = None,
    ) -> None:
        """A sample by its ``Sample``'s fields, told as texts and lists of integers; ValueError if it is none.

        Where its members may lie is checked when its shard ends.
        """
        number = self._number(key, _Layout(tuple(members), tuple(told or ()), shape), members)
        for name, (offset, size) in members.items():
            try:
                self._sizes.append(int(size))
                self._offsets.append(int(offset))
            except OverflowError as error:
                raise _misplaced(key, name, offset, size) from error
        if told:
            for value in told.values():
                _ = isinstance(value, str) or _integers(value)
            self._told += _packed([*told.values()]).encode()
        self._keys += key.encode(*_UTF8)
        self._key_ends.append(len(self._keys))
        self._labels.append(label or 0)
        self._has_label.append(label is not None)
        self._layout.append(number)
        self._members.append(len(self._sizes))
        self._told_ends.append(len(self._told))

    def end(self, shard: Shard) -> None:
        """All since the last one lie in this shard; ValueError names a member that does not."""
        first = self._members[self._starts[-1]]
        offsets, sizes = np.asarray(self._offsets)[first:], np.asarray(self._sizes)[first:].astype(np.int64)
        wrong = (offsets < 0) | (sizes < 0) | (sizes > MAX_MEMBER) | (offsets > shard.size - sizes)
        if wrong.any():
            at = first + int(wrong.argmax())
            sample = bisect_right(self._members, at) - 1
            name = self._layout_of(sample).members[at - self._members[sample]]
            raise _misplaced(self.key(sample), name, self._offsets[at], self._sizes[at])
        self.shards.append(shard)
        self._starts.append(self.num_added)

    @property
    def num_added(self) -> int:
        return len(self._layout)

    def __len__(self) -> int:
        """Of samples whose shard has ended."""
        return self._starts[-1]

    def key(self, sample: int) -> str:
        return self._keys[self._key_ends[sample] : self._key_ends[sample + 1]].decode(*_UTF8)

    def label(self, sample: int) -> int | None:
        return self._labels[sample] if self._has_label[sample] else None

    def shard(self, sample: int) -> Shard:
        return self.shards[bisect_right(self._starts, sample) - 1]

    def sample(self, sample: int) -> Sample:
        names, told, shape = self._layout_of(sample)
        numbered = enumerate(names, self._members[sample])
        members = {name: (self._offsets[member], self._sizes[member]) for member, name in numbered}
        held = Told(told, self._told_of(sample)) if told else None
        return Sample(self.key(sample), self.label(sample), self.shard(sample), members, shape, held)

    def labels(self) -> np.ndarray | None:
        """[N] int64, or None if a sample has none or there is none."""
        whole = len(self) and 0 not in self._has_label
        return np.array(self._labels, dtype=np.int64) if whole else None

    def counts(self) -> tuple[int, ...]:
        """Numbers of samples of the shards that have any."""
        return tuple(stop - start for start, stop in pairwise(self._starts) if stop > start)

    def runs(self) -> list[range]:
        """Samples one after another whose pictures have one shape."""
        shapes = [layout.shape for layout in self._by_number]
        like = np.array([shapes.index(shape) for shape in shapes], dtype=np.int64)[np.asarray(self._layout)]
        cuts = np.flatnonzero(like[1:] != like[:-1]) + 1
        return [range(*ends) for ends in pairwise([0, *cuts.tolist(), len(self)])]

    def some_have(self, extension: str) -> bool:
        return any(layout.has(extension) for layout in self._by_number)

    def lacking(self, extension: str) -> Sample | None:
        """The first sample that has no such member."""
        lacks = np.array([not layout.has(extension) for layout in self._by_number], dtype=bool)
        without = lacks[np.asarray(self._layout)]
        return self.sample(int(without.argmax())) if without.any() else None

    def twice(self) -> tuple[int, int] | None:
        """The first sample that has the key of one before it, which comes first; None if there is none."""
        hashes = np.fromiter(map(hash, map(self.key, range(len(self)))), np.int64, len(self))
        order = np.sort(hashes)
        doubtful = np.isin(hashes, order[1:][order[1:] == order[:-1]])
        seen: dict[str, int] = {}
        for sample in np.flatnonzero(doubtful).tolist():
            first = seen.setdefault(self.key(sample), sample)
            if first != sample:
                return first, sample
        return None

    def _number(self, key: str, layout: _Layout, members: Mapping[str, Sequence[int]]) -> int:
        number = self._layouts.get(layout)
        if number is not None:
            return number
        for name in layout.members:
            if name not in ALLOWED:
                raise _misplaced(key, name, *members[name])
        self._by_number.append(layout)
        return self._layouts.setdefault(layout, len(self._layouts))

    def _layout_of(self, sample: int) -> _Layout:
        return self._by_number[self._layout[sample]]

    def _told_of(self, sample: int) -> bytes:
        return bytes(self._told[self._told_ends[sample] : self._told_ends[sample + 1]])


def _integers(value: Any) -> np.ndarray:
    return np.asarray(value, dtype=np.int64)


def _misplaced(key: str, name: str, offset: int, size: int) -> ValueError:
    return ValueError(f"{key}.{name} at {offset}+{size} is not allowed")
