"""A folder of fetched files, of limited size."""

import fcntl
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from condiff.errors import EnvironmentFault
from condiff.files import written_whole

_SUFFIX = ".tar"


class ShardCache:
    """Files by name; where they exceed ``limit`` bytes, those go that were not used for longest.

    Several runs may share the folder: a file that is being read is locked, and what is locked stays.
    """

    def __init__(self, folder: Path, limit: float) -> None:
        self.folder, self.limit = folder, limit
        self._filling: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

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
            with self._filling[path.name]:
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
        self._make_room(path)

    def _make_room(self, new: Path) -> None:
        found = sorted((path.stat().st_mtime_ns, path) for path in self.folder.glob(f"*{_SUFFIX}"))
        excess = sum(path.stat().st_size for _, path in found) - self.limit
        for _, path in found:
            if excess <= 0:
                return
            if path != new:
                excess -= _removed(path)


def _removed(path: Path) -> int:
    """The bytes that are free now; none where somebody reads the file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return os.fstat(descriptor).st_size
    except BlockingIOError:
        return 0
    finally:
        os.close(descriptor)
