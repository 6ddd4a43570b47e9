"""Where tars lie: on this machine, or behind URLs with a cache beside them."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from condiff.data.braces import RANGE, expanded
from condiff.data.memo import stamp
from condiff.data.shards import Shards
from condiff.errors import ConfigError, DataError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class Place(ABC):
    """Tars by their addresses."""

    @abstractmethod
    def stamps(self) -> dict[str, Any]:
        """Of every address, in order: plain values that change if its tar does."""

    @abstractmethod
    def indexed(self) -> dict[str, str]:
        """The sha256 that an index beside the tars says, by address."""

    @abstractmethod
    def held(self, address: str) -> AbstractContextManager[Path]:
        """A file of the tar while it is read."""

    @abstractmethod
    def name(self, address: str) -> str:
        """That of the file at an address."""

    def shown(self, address: str) -> str:
        """An address for messages."""
        return address


class Local(Place):
    """A folder, one file, or a range such as ``/data/set-{000..003}.tar``."""

    def __init__(self, path: str) -> None:
        self.path = path

    def stamps(self) -> dict[str, Any]:
        return {str(path): stamp(path) for path in shard_paths(self.path)}

    def indexed(self) -> dict[str, str]:
        folders = sorted({path.parent for path in shard_paths(self.path)})
        indexes = [index for folder in folders for index in sorted(folder.glob("index-*.jsonl"))]
        splits = [index.name.removeprefix("index-").removesuffix(".jsonl") for index in indexes]
        found = [Shards.open(index.parent, split) for index, split in zip(indexes, splits, strict=True)]
        return {str(shard.path): shard.sha256 for shards in found for shard in shards.shards}

    @contextmanager
    def held(self, address: str) -> Iterator[Path]:
        yield Path(address)

    def name(self, address: str) -> str:
        return Path(address).name


def shard_paths(path: str) -> list[Path]:
    """The tars that ``data.path`` names; ConfigError for what is not plainly local, DataError for none."""
    if _SCHEME.match(path) or ".." in PurePosixPath(RANGE.sub("", path)).parts or path.strip() in ("", "-"):
        raise ConfigError(
            f"data.path: {path!r} is no plain local path; give a folder, a tar or set-{{000..003}}.tar"
        )
    found = [Path(name).expanduser() for name in expanded(path, "data.path")]
    if len(found) == 1 and found[0].is_dir():
        folder = found[0]
        found = sorted(folder.glob("*.tar"))
        if not found:
            raise DataError(f"data.path: {folder} holds no .tar; give a folder of WebDataset shards")
    missing = [
        f"data.path: {shard} does not exist; give a folder, a tar or a range of tars"
        for shard in found
        if not shard.is_file()
    ]
    if missing:
        raise DataError(*missing[:20])
    return found
