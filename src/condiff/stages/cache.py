"""Artifacts on disk: whole or absent, checked on every hit, made once however many jobs want them."""

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from condiff.errors import ArtifactError, EnvironmentFault
from condiff.files import file_digest, read_json, sync_tree, write_json
from condiff.stages.stage import Artifact

MANIFEST = "manifest.json"
_LARGE = 2**20  # bytes, from which a file is not kept twice
Say = Callable[..., None]


@dataclass(frozen=True)
class Cache:
    """``<root>/<stage>/<key>/``; beside it ``.<key>.work/`` while it is made and ``.<key>.lock``."""

    root: Path
    lock_timeout: float = 86400.0  # seconds to wait for another job that makes the same artifact

    def folder(self, stage: str, key: str) -> Path:
        return self.root / stage / key

    def work(self, stage: str, key: str) -> Path:
        """Where an artifact is made; what is here after a kill is where the next attempt goes on."""
        return self.root / stage / f".{key}.work"

    def find(self, stage: str, key: str, say: Say) -> Artifact | None:
        """The artifact if it is there and sound; a damaged one is set aside and named."""
        folder = self.folder(stage, key)
        if not folder.is_dir():
            return None
        try:
            return Artifact(key, folder, verified(folder))
        except ArtifactError as error:
            bad = folder.with_name(f".bad-{key}-{time.time_ns()}")
            os.replace(folder, bad)
            say("%s; set aside as %s and made again", error.lines[0], bad.name)
            return None

    def manifests(self, stage: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Key and manifest of every artifact of a stage, newest last."""
        found = [p for p in (self.root / stage).glob(f"[!.]*/{MANIFEST}") if p.is_file()]
        for path in sorted(found, key=lambda p: p.stat().st_mtime_ns):
            try:
                yield path.parent.name, _manifest(path, path.stat().st_mtime_ns)
            except (OSError, ValueError):
                continue

    @contextmanager
    def lock(self, stage: str, key: str, say: Say) -> Iterator[None]:
        """Held by one process at a time; the system lets go of it when its owner dies."""
        path = self.root / stage / f".{key}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentFault(
                f"runtime.cache: {path.parent} cannot be made ({error.strerror})"
            ) from error
        lock = FileLock(path)
        self._acquire(lock, path, say)
        try:
            _holder(path).write_text(f"{os.getpid()}@{socket.gethostname()} since {_now()}")
            yield
        finally:
            _holder(path).unlink(missing_ok=True)
            lock.release()

    def _acquire(self, lock: FileLock, path: Path, say: Say) -> None:
        end = time.monotonic() + self.lock_timeout
        patience = 0.0  # the first attempt fails at once if the lock is held, so that the wait is told
        while True:
            try:
                lock.acquire(timeout=patience)
                return
            except Timeout:
                holder = _read(_holder(path)) or "another process"
                left = end - time.monotonic()
                if left <= 0:
                    raise EnvironmentFault(
                        f"runtime.lock_timeout: {path} is still held by {holder} after "
                        f"{self.lock_timeout:g} s; end that process or wait longer"
                    ) from None
                say("waiting for %s, which makes the %s", holder, path.parent.name)
                patience = min(30.0, left)

    def publish(self, stage: str, key: str, manifest: dict[str, Any]) -> Artifact:
        """Give a finished work folder its name, all at once."""
        work, folder = self.work(stage, key), self.folder(stage, key)
        names = sorted(p.relative_to(work).as_posix() for p in work.rglob("*") if p.is_file())
        files = {name: file_digest(work / name) for name in names if name != MANIFEST}
        for name, expected in files.items():
            self._share(stage, work, name, expected)
        write_json(work / MANIFEST, {**manifest, "finished": _now(), "files": files})
        sync_tree(work)
        os.replace(work, folder)
        return Artifact(key, folder, read_json(folder / MANIFEST))

    def _share(self, stage: str, work: Path, name: str, expected: str) -> None:
        """Let a large file that another artifact of the stage has be that one by a second name, as a base's
        weights are under every seed and beside every data; where there are no links it stays as it is.
        """
        if (work / name).stat().st_size < _LARGE:
            return
        same = (key for key, made in self.manifests(stage) if made.get("files", {}).get(name) == expected)
        second = work / f".{expected[:12]}.link"
        for other in (self.folder(stage, key) / name for key in same):
            with suppress(OSError):
                if file_digest(other) == expected:  # not damaged since
                    os.link(other, second)
                    os.replace(second, work / name)
                    return


def clean(work: Path, keep: tuple[str, ...]) -> None:
    """A work folder with nothing in it but the named things of an earlier attempt."""
    work.mkdir(parents=True, exist_ok=True)
    for path in work.iterdir():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def manifest_of(folder: Path) -> dict[str, Any]:
    """ArtifactError where it cannot be read."""
    try:
        manifest = read_json(folder / MANIFEST)
        manifest["files"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{folder / MANIFEST}: cannot be read") from error
    return manifest


def verified(folder: Path, but: str | None = None) -> dict[str, Any]:
    """The manifest of an artifact whose files are what it says.

    Those whose names begin with ``but``, which nothing will read, are not looked at.
    """
    manifest = manifest_of(folder)
    for name, expected in manifest["files"].items():
        if but is not None and name.startswith(but):
            continue
        if not (folder / name).is_file():
            raise ArtifactError(f"{folder / name}: is missing")
        if file_digest(folder / name) != expected:
            raise ArtifactError(f"{folder / name}: is damaged, its sha256 is not the manifest's")
    return manifest


@lru_cache(10_000)
def _manifest(path: Path, _: int) -> dict[str, Any]:
    """One that is read by the plan of every job of a sweep; by its time of change, which another one has."""
    return read_json(path)


def _holder(lock: Path) -> Path:
    return lock.with_suffix(".holder")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
