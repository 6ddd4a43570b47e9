"""One job of a sweep, in this process or in one of its own."""

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from condiff.errors import told
from condiff.files import read_json, write_json
from condiff.interrupts import Interrupted, Interrupts
from condiff.reports.redact import redact
from condiff.stages.driver import run_study

OUTCOME = "outcome.json"
OUTPUT = "output.log"  # what a job in a process of its own prints


@dataclass(frozen=True)
class Job:
    """Plain values only: it is handed to other processes as JSON."""

    cfg: Mapping[str, Any]
    overrides: Sequence[str]
    command: str  # that runs this job alone
    folder: str
    failures: str  # the folder in which the sweep remembers failed stages


@dataclass(frozen=True)
class Outcome:
    """How a job ended; ``error`` is what it said, a line each, empty where all went well."""

    code: int
    error: Sequence[str]
    seconds: float


def run_job(job: Job, interrupts: Interrupts) -> Outcome:
    """Run it and leave its outcome in its folder; whatever it raises ends this job only."""
    start, code, lines = time.monotonic(), 0, ""
    folder = Path(job.folder)
    (folder / OUTCOME).unlink(missing_ok=True)
    try:
        run_study(job.cfg, folder, interrupts, job.overrides, job.command, Path(job.failures))
    except Interrupted as stop:
        line = f"error[{stop.exit_code}]: the job was stopped by {stop}; the same command goes on with it"
        _leave(folder, stop.exit_code, [line], start)
        raise
    except BaseException as error:  # SystemExit too
        code, lines = told(error)
        lines = redact(lines)
        if job.cfg["runtime"]["debug"]:
            traceback.print_exception(error)
        _let_go(error)
    return _leave(folder, code, lines.splitlines(), start)


def run_apart(job: Job) -> int:
    """Run it in a process that is its own: what it prints goes to a file in its folder."""
    Path(job.folder).mkdir(parents=True, exist_ok=True)
    with (Path(job.folder) / OUTPUT).open("a") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    interrupts = Interrupts()
    if threading.current_thread() is threading.main_thread():
        interrupts.install()
    try:
        code = run_job(job, interrupts).code
    except Interrupted as stop:
        code = stop.exit_code
    sys.stdout.flush()
    return code


def outcome_of(job: Job, died: str, code: int = 1) -> Outcome:
    """What a job in another process has left; one that left nothing ``died``, as its launcher tells."""
    with suppress(OSError, ValueError):
        return Outcome(**read_json(Path(job.folder) / OUTCOME))
    line = f"error[{code}]: {died}; what it said is in {Path(job.folder) / OUTPUT}"
    return Outcome(code, [line], 0.0)


def leave_dead(job: Job, died: str, code: int) -> None:
    """For whoever reads its outcome later, where it left none itself."""
    write_json(Path(job.folder) / OUTCOME, asdict(outcome_of(job, died, code)))


def _leave(folder: Path, code: int, lines: Sequence[str], start: float) -> Outcome:
    outcome = Outcome(code, lines, round(time.monotonic() - start, 2))
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / OUTCOME, asdict(outcome))
    return outcome


def _let_go(error: BaseException) -> None:
    """The frames of what failed hold its tensors; the next job may need the room."""
    error.__traceback__ = None
    if "torch" in sys.modules:
        import gc  # noqa: PLC0415

        import torch  # noqa: PLC0415

        gc.collect()
        torch.cuda.empty_cache()


def _end_with_parent() -> None:
    """Stop as for SIGTERM once the sweep is gone, however it went: its end of the pipe closes."""

    def wait() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    given = Job(**json.loads(sys.stdin.readline()))
    _end_with_parent()
    sys.exit(run_apart(given))
