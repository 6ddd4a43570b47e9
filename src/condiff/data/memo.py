"""What was learnt about files, remembered for as long as they do not change."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from condiff.files import digest, read_json, written_whole
from condiff.progress import track

A = TypeVar("A")
B = TypeVar("B")
_AT_ONCE = 64


class Memo:
    """Plain values by file; a value holds while size, both times and inode stay the same.

    The change time notices a file that was rewritten with its old size and modification time.
    """

    def __init__(self, name: str) -> None:
        self._file = f"{digest(name)[:24]}.json"
        self._known: dict[str, list[Any]] = {}
        self._saved: set[Path] = set()

    def look(
        self,
        paths: Sequence[A],
        look: Callable[[A], Any],
        what: str,
        folder: Path | None,
        stamps: Mapping[str, Any] | None = None,
    ) -> list[Any]:
        """``look(path)`` for every path, taken from memory where the file is as it was.

        ``stamps`` are those of what is no file here.
        """
        self._load(folder)
        stamps = {str(path): stamp(Path(str(path))) for path in paths} if stamps is None else stamps
        new = [path for path in paths if self._known.get(str(path), [None])[0] != stamps[str(path)]]
        for path, value in zip(new, track(in_order(look, new), len(new), what) if new else (), strict=True):
            self._known[str(path)] = [stamps[str(path)], value]
            self._saved.clear()
        return [self._known[str(path)][1] for path in paths]

    def save(self, folder: Path) -> None:
        if folder in self._saved:
            return
        folder.mkdir(parents=True, exist_ok=True)
        with written_whole(folder / self._file) as temporary:
            temporary.write_text(json.dumps(self._known), encoding="utf-8")
        self._saved.add(folder)

    def _load(self, folder: Path | None) -> None:
        if folder is None or folder in self._saved:
            return
        try:
            stored = read_json(folder / self._file)
        except (OSError, ValueError):  # a missing or damaged memory only costs time
            return
        if not self._known:
            self._saved.add(folder)
        self._known = {**stored, **self._known}


@cache
def shared(name: str) -> Memo:
    """The memo of that name in this process: a source built twice looks once."""
    return Memo(name)


def in_order(do: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """``do(item)`` for every item, on threads but in order, a bounded number ahead."""
    rest = iter(items)
    with ThreadPoolExecutor() as pool:
        while ahead := list(islice(rest, _AT_ONCE)):
            yield from pool.map(do, ahead)


def stamp(path: Path) -> list[int]:
    """What changes if a file does."""
    try:
        found = path.stat()
    except OSError:  # a link that leads nowhere: looking at it will tell
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
