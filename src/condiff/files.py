"""Files that are whole or absent, and what they contain in a hash."""

import hashlib
import json
import os
import shutil
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from condiff.errors import EnvironmentFault

# What reading an .npz raises where its bytes are not what they were.
DAMAGED = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    NotImplementedError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; takes its name only once it is safely on disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise EnvironmentFault(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def copy_whole(source: Path, to: Path, names: Iterable[str]) -> None:
    """Copy files and folders of ``source``, each file whole or not at all."""
    for name in names:
        inside = sorted((source / name).rglob("*")) if (source / name).is_dir() else [source / name]
        for path in (path for path in inside if path.is_file()):
            copied = to / path.relative_to(source)
            copied.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(copied) as temporary:
                shutil.copyfile(path, temporary)


def link_whole(source: Path, to: Path, names: Iterable[str]) -> None:
    """Files of ``source`` under a second name each, or copies of them where that cannot be had."""
    to.mkdir(parents=True, exist_ok=True)
    for name in names:
        with suppress(FileNotFoundError):
            (to / name).unlink()
        try:
            os.link(source / name, to / name)
        except OSError:  # another disk, or one without links
            copy_whole(source, to, [name])


def write_json(path: Path, value: Any) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def digest(value: Any) -> str:
    """sha256 of a plain value's canonical JSON: the order of keys does not count."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_tree(folder: Path) -> None:
    """Force every file below a folder, and the folder itself, onto the disk."""
    for path in sorted(folder.rglob("*")):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
