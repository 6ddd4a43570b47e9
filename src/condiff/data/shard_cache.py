"""A folder of fetched files, of limited size."""

import fcntl
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from condiff.errors import EnvironmentFault
from condiff.files import written_whole

_SUFFIX = ".fetched"  # nothing else in the folder is ever removed
_STALE = 3600.0  # seconds since a download that was killed wrote its last byte
_FILLING: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)  # in this process


class ShardCache:
    """Files by name; where they exceed ``limit`` bytes, those go that were not used for longest.

    Several runs may share the folder: a file that is being read is locked, and what is locked stays.
    """

    def __init__(self, folder: Path, limit: float) -> None:
        self.folder, self.limit = folder, limit
        self._making_room = threading.Lock()

    @contextmanager
    def held(self, name: str, fill: Callable[[Path], None]) -> Iterator[Path]:
        """The file of that name while it is read; ``fill`` writes one that is not there."""
        path = self.folder / f"{name}{_SUFFIX}"
        descriptor = self._opened(path, fill)
        try:
            yield path
        finally:
            os.close(descriptor)

    def _opened(self, path: Path, fill: Callable[[Path], None]) -> int:
        while True:
            with _FILLING[path]:
                if not path.is_file():
                    self._fill(path, fill)
            with suppress(FileNotFoundError):  # if another run has just made room
                descriptor = os.open(path, os.O_RDONLY)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if os.fstat(descriptor).st_nlink:
                    os.utime(path)
                    return descriptor
                os.close(descriptor)

    def _fill(self, path: Path, fill: Callable[[Path], None]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentFault(f"data.fetch.cache: {self.folder} cannot be made ({error})") from error
        with written_whole(path) as temporary:
            fill(temporary)
        with self._making_room:
            self._make_room(path)

    def _make_room(self, new: Path) -> None:
        for path, about in _there(self.folder, f".*{_SUFFIX}.*.tmp"):
            if time.time() - about.st_mtime > _STALE:
                path.unlink(missing_ok=True)
        found = [
            (about.st_mtime_ns, about.st_size, path) for path, about in _there(self.folder, f"*{_SUFFIX}")
        ]
        excess = sum(size for _, size, _ in found) - self.limit
        for _, size, path in sorted(found):
            if excess <= 0:
                return
            if path != new and _removed(path):
                excess -= size


def _there(folder: Path, pattern: str) -> Iterator[tuple[Path, os.stat_result]]:
    """What lies there, unless another run removes it just now."""
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):
            yield path, path.stat()


def _removed(path: Path) -> bool:
    """Whether it is gone now; not where somebody reads it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
