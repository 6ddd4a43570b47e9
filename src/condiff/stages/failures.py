"""Stages that failed in a sweep: the jobs that need them too are told, and try them no second time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from condiff.errors import CondiffError, told
from condiff.files import read_json, write_json
from condiff.interrupts import Interrupted
from condiff.reports.redact import redact


class SharedFailure(CondiffError):
    """A stage has failed for another job of the sweep, with this exit code."""

    def __init__(self, exit_code: int, line: str) -> None:
        super().__init__(line)
        self.exit_code = exit_code


class Failures:
    """``<folder>/<stage>-<key>.json`` for every failed stage; without a folder nothing is remembered."""

    def __init__(self, folder: Path | None = None, job: str = "") -> None:
        self.folder, self.job = folder, job

    @contextmanager
    def watched(self, stage: str, key: str) -> Iterator[None]:
        """Raises SharedFailure where the stage has failed before, and remembers if it fails now."""
        if self.folder is None:
            yield
            return
        path = self.folder / f"{stage}-{key}.json"
        if path.is_file():
            raise _remembered(path, stage)
        try:
            yield
        except Interrupted:
            raise
        except BaseException as error:
            code, lines = told(error)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(path, {"job": self.job, "code": code, "line": redact(lines.splitlines()[0])})
            raise


def _remembered(path: Path, stage: str) -> SharedFailure:
    found = read_json(path)
    return SharedFailure(
        found["code"], f"{stage}: failed in job {found['job']} and is not tried again; {found['line']}"
    )
