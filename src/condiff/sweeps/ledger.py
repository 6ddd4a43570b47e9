"""The ledger of a sweep: which of its jobs are done, failed or running, and where it goes on."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from condiff.errors import ConfigError, EnvironmentFault
from condiff.files import read_json, write_json
from condiff.stages.run_folders import LEDGER

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


@dataclass(frozen=True)
class Entry:
    """A job as the ledger has it; ``folder`` lies in the sweep's, ``error`` is the first line it said."""

    folder: str
    overrides: Sequence[str]
    status: str = WAITING
    code: int | None = None
    error: str = ""
    seconds: float | None = None
    keys: Mapping[str, str] = field(default_factory=dict)  # of its artifacts, by stage
    metrics: Mapping[str, float] = field(default_factory=dict)


class Ledger:
    """``sweep.json`` in the sweep's folder, whole at any time, and held by one process."""

    def __init__(self, folder: Path, identity: str, command: str, lock: FileLock) -> None:
        self.folder, self.identity, self.command = folder, identity, command
        self.entries: list[Entry] = []
        self.axes: list[str] = []  # the keys that it goes over
        self.started = _now()
        self._lock = lock

    def set(self, place: int, **changes: Any) -> None:
        self.entries[place] = replace(self.entries[place], **changes)
        self.write()

    def write(self) -> None:
        head = {"command": self.command, "identity": self.identity, "started": self.started}
        jobs = [asdict(entry) for entry in self.entries]
        write_json(self.folder / LEDGER, {**head, "written": _now(), "jobs": jobs})

    def places(self, status: str) -> list[int]:
        return [place for place, entry in enumerate(self.entries) if entry.status == status]

    def names(self) -> list[str]:
        """What the command line says of each job and not of all."""
        return [" ".join(self.own(entry)) or "the only job" for entry in self.entries]

    def own(self, entry: Entry) -> list[str]:
        """What a job sets of what the sweep goes over."""
        return [text for text in entry.overrides if text.partition("=")[0].lstrip("+") in self.axes]

    def stop(self) -> None:
        """What was running was stopped with the sweep and waits for the next attempt."""
        self.entries = [_stopped(entry) for entry in self.entries]
        self.write()

    def close(self) -> None:
        self._lock.release()


def open_ledger(folder: Path, is_named: bool, identity: str, command: str, num_jobs: int) -> Ledger:
    """The ledger of this sweep: of an earlier attempt that did not finish, or a new one in a new folder.

    ``num_jobs`` is how many it is to have; a search that is asked for more than it had is not finished.
    A folder that the user named is gone on in whatever its state; ConfigError if another sweep lies there,
    EnvironmentFault if it is being run.
    """
    if not is_named:
        for old in _unfinished(folder.parent, identity, num_jobs):
            lock = _held(old)
            if lock is None:
                continue
            try:
                return _read(old, lock)
            except ConfigError as error:  # nobody named that folder, so there is no need to stop
                print(f"{error}; a new sweep begins", file=sys.stderr, flush=True)
    try:
        folder.mkdir(parents=True, exist_ok=is_named)
        lock = _held(folder)
    except OSError as error:
        raise EnvironmentFault(
            f"hydra.sweep.dir: {folder} cannot be written to ({error.strerror})"
        ) from error
    if lock is None:
        raise EnvironmentFault(f"hydra.sweep.dir: {folder} is being run by another process; wait for it")
    if (folder / LEDGER).is_file():
        if _identity(folder) != identity:
            lock.release()
            raise ConfigError(f"hydra.sweep.dir: {folder} holds another sweep; give another folder")
        return _read(folder, lock)
    return Ledger(folder, identity, command, lock)


def _unfinished(parent: Path, identity: str, num_jobs: int) -> list[Path]:
    """Sweeps of these settings that have jobs to run, newest first."""
    found = [path.parent for path in sorted(parent.glob(f"*/{LEDGER}"), reverse=True)]
    return [folder for folder in found if _identity(folder) == identity and _is_open(folder, num_jobs)]


def _is_open(folder: Path, num_jobs: int) -> bool:
    try:
        jobs = read_json(folder / LEDGER)["jobs"]
        return len(jobs) < num_jobs or any(job["status"] != DONE for job in jobs)
    except (KeyError, TypeError):  # of another version, which is told when it is read
        return True


def _identity(folder: Path) -> str | None:
    """None for what is no ledger."""
    try:
        return read_json(folder / LEDGER)["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _held(folder: Path) -> FileLock | None:
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _read(folder: Path, lock: FileLock) -> Ledger:
    """Nobody runs its jobs now, since the lock was free, whatever a sweep that was killed has left there."""
    try:
        stored = read_json(folder / LEDGER)
        ledger = Ledger(folder, stored["identity"], stored["command"], lock)
        ledger.started = stored["started"]
        ledger.entries = [_stopped(_entry(job)) for job in stored["jobs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        lock.release()
        raise ConfigError(
            f"hydra.sweep.dir: {folder / LEDGER} cannot be gone on with, as it is another version's"
            f" ({type(error).__name__}: {error}); give another folder"
        ) from error
    return ledger


def _entry(job: Mapping[str, Any]) -> Entry:
    """A job as it is stored; TypeError or ValueError for one of another version."""
    entry = Entry(**job)
    if entry.status not in (WAITING, RUNNING, DONE, FAILED):
        raise ValueError(f"no status {entry.status!r}")
    return entry


def _stopped(entry: Entry) -> Entry:
    return replace(entry, status=WAITING) if entry.status == RUNNING else entry


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
