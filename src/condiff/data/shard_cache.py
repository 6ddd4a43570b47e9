"""A folder of fetched files, of limited size."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from condiff.errors import DataError, EnvironmentFault
from condiff.files import written_whole
from condiff.interrupts import STOPPING

_SUFFIX = ".fetched"  # nothing else in the folder is ever removed
_UNDER_WAY = f".*{_SUFFIX}.*.tmp"
_ROOM = ".room.lock"
_GLANCE = 0.05  # seconds between looks at whether there is room
_GIB = 2**30


class ShardCache:
    """Files by name; where they would exceed ``limit`` bytes, those go that were not used for longest.

    Several threads and runs may share the folder. A file that is being read or written is locked, and what
    is locked stays. What is written has its whole size from the start, where that is known, so that the
    folder never holds more than the limit; where it is not, for as long as it takes to make room.
    """

    def __init__(self, folder: Path, limit: float) -> None:
        self.folder, self.limit = folder, limit

    @contextmanager
    def held(self, name: str, fill: Callable[[Path], None], size: int | None = None) -> Iterator[Path]:
        """The file of that name while it is read; ``fill`` writes one that is not there, ``size`` bytes."""
        path = self.folder / f"{name}{_SUFFIX}"
        while (descriptor := _locked(path)) is None:
            self._fill(path, fill, size)
        try:
            os.utime(path)
            yield path
        finally:
            os.close(descriptor)

    def _fill(self, path: Path, fill: Callable[[Path], None], size: int | None) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentFault(f"data.fetch.cache: {self.folder} cannot be made ({error})") from error
        with _alone(self.folder / f".{path.name[:3]}.lock"):  # whoever waited finds it here
            if path.is_file():
                return
            with ExitStack() as locks, written_whole(path) as temporary:
                locks.callback(os.close, self._begun(temporary, size or 0))
                fill(temporary)
        if size is None:
            with _alone(self.folder / _ROOM):
                self._has_room(0, path)

    def _begun(self, path: Path, size: int) -> int:
        """A locked descriptor of a new file of that size, as soon as there is room for it."""
        if size > self.limit:
            raise DataError(
                f"data.fetch.cache_gib: must hold a shard, and one has {size / _GIB:.3g} GiB, got"
                f" {self.limit / _GIB:.3g}"
            )
        while True:
            with _alone(self.folder / _ROOM):
                if self._has_room(size) or STOPPING:
                    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                    os.truncate(path, size)
                    return descriptor
            time.sleep(_GLANCE)  # what is in use is read soon

    def _has_room(self, more: int, kept: Path | None = None) -> bool:
        """Whether so many more bytes fit now, once what can go has gone; ``kept`` stays."""
        found = [
            (about.st_mtime_ns, about.st_size, path)
            for pattern in (_UNDER_WAY, f"*{_SUFFIX}")
            for path, about in _there(self.folder, pattern)
        ]
        excess = sum(size for _, size, _ in found) + more - self.limit
        for _, size, path in sorted(found):
            if excess > 0 and path != kept and _removed(path):
                excess -= size
        return excess <= 0


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One thread of all runs at a time."""
    with lock.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _there(folder: Path, pattern: str) -> Iterator[tuple[Path, os.stat_result]]:
    """What lies there, unless another run removes it just now."""
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):
            yield path, path.stat()


def _locked(path: Path) -> int | None:
    """A descriptor that keeps the file; None where there is none, or another run has just made room."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    if os.fstat(descriptor).st_nlink:
        return descriptor
    os.close(descriptor)
    return None


def _removed(path: Path) -> bool:
    """Whether it is gone now; not where somebody reads or writes it, or it has just been given its name."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return True
    except (BlockingIOError, FileNotFoundError):
        return False
    finally:
        os.close(descriptor)
