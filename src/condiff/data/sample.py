"""A sample of a shard: its members by extension, and where they lie in the tar."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from condiff.data.pictures import EXTENSIONS as PICTURES
from condiff.errors import DataError

CONTROL, FRAMING = "control.png", "framing.npy"
ALLOWED = (
    *(*PICTURES, "source.png", "line.png", "txt", "cls", "json", "npy", "mirror.npy", "source.npy"),
    CONTROL,
    FRAMING,
)
MAX_MEMBER = 64 * 2**20  # bytes


@dataclass(frozen=True)
class Shard:
    """A tar and what it must be."""

    path: Path
    size: int
    sha256: str
    name: str = ""  # what it is called in messages, if not by its path

    def held(self) -> AbstractContextManager[Path]:
        """Its file while it is read."""
        return nullcontext(self.path)

    def __str__(self) -> str:
        return self.name or str(self.path)


@dataclass(frozen=True)
class Sample:
    """Where the members of one key lie: extension -> (offset, size) in its shard."""

    key: str
    label: int | None
    shard: Shard
    members: dict[str, tuple[int, int]]
    shape: tuple[int, int] | None = None  # height and width of a picture that is no square
    told: Mapping[str, bytes] | None = None  # members that the index itself holds

    def has(self, extension: str) -> bool:
        return extension in self.members or extension in (self.told or ())

    def read(self, extension: str) -> bytes:
        if self.told and extension in self.told:
            return self.told[extension]
        if extension not in self.members:
            raise DataError(f"{self}: has no .{extension}; its members are {', '.join(self.members)}")
        offset, size = self.members[extension]
        with self.shard.held() as path:
            return read_part(path, offset, size, f"{self}.{extension}")

    def __str__(self) -> str:
        return f"{self.shard}:{self.key}"


def read_part(path: Path, offset: int, size: int, shown: str) -> bytes:
    """A member of a tar, ``shown`` in messages."""
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            data = os.pread(file, size, offset)
        finally:
            os.close(file)
    except OSError as error:
        raise DataError(f"{shown}: cannot be read ({error.strerror})") from error
    if len(data) != size:
        raise DataError(f"{shown}: {len(data)} of {size} bytes are there; restore the shard")
    return data
