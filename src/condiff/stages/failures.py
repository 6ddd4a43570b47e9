"""Stages that failed in a sweep: the jobs that need them too are told, and try them no second time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from condiff.errors import CondiffError, told
from condiff.files import read_json, write_json
from condiff.interrupts import Interrupted
from condiff.reports.redact import redact

KILLED = 137  # exit code of a process that was ended by SIGKILL
MOST_DEATHS = 2  # of jobs in the same stage of one sweep


class SharedFailure(CondiffError):
    """A stage has failed for another job of the sweep, with this exit code."""

    def __init__(self, exit_code: int, line: str) -> None:
        super().__init__(line)
        self.exit_code = exit_code


class Failures:
    """``<folder>/<stage>-<key>.json`` for every failed stage; without a folder nothing is remembered.

    A job that is killed says nothing, but leaves ``<stage>-<key>.begun``, which whoever begins a stage writes
    and takes back at its end: found under the lock of the stage, it is of a job that died. One death may be
    an accident, and the next job goes on where it was; a stage in which two jobs were killed has failed.
    """

    def __init__(self, folder: Path | None = None, job: str = "") -> None:
        self.folder, self.job = folder, job

    @contextmanager
    def watched(self, stage: str, key: str) -> Iterator[None]:
        """Raises SharedFailure where the stage has failed before, and remembers if it fails now."""
        if self.folder is None:
            yield
            return
        failed, begun = self.folder / f"{stage}-{key}.json", self.folder / f"{stage}-{key}.begun"
        if failed.is_file():
            raise _remembered(failed, stage)
        died = read_json(begun) if begun.is_file() else []
        if len(died) >= MOST_DEATHS:
            who = " and ".join(died)
            raise SharedFailure(
                KILLED,
                f"{stage}: jobs {who} were killed in it and it is not tried again; it may need more memory",
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(begun, [*died, self.job])
        try:
            yield
        except Interrupted:
            raise
        except BaseException as error:
            code, lines = told(error)
            write_json(failed, {"job": self.job, "code": code, "line": redact(lines.splitlines()[0])})
            raise
        finally:
            write_json(begun, died)


def _remembered(path: Path, stage: str) -> SharedFailure:
    found = read_json(path)
    line = found["line"].partition("]: ")[2] or found["line"]  # its code is said before this line
    return SharedFailure(
        found["code"], f"{stage}: failed in job {found['job']} and is not tried again; {line}"
    )
