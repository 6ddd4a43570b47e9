"""``run.log``: what a run warned of, and why it failed."""

import logging
import sys
import traceback
from pathlib import Path

from condiff.errors import EnvironmentFault, told
from condiff.reports.redact import redact

log = logging.getLogger("condiff")


def open_log(folder: Path) -> None:
    """The run folder, and a log file in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(folder / "run.log", encoding="utf-8")
    except OSError as error:
        raise EnvironmentFault(f"hydra.run.dir: {folder} cannot be written to ({error.strerror})") from error
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for old in log.handlers[:]:
        log.removeHandler(old)
        old.close()
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [file, console]
    log.setLevel(logging.INFO)
    log.propagate = False


def log_failure(error: BaseException) -> None:
    """What went wrong, with its traceback, for run.log; the terminal gets the lines from whoever asked."""
    frames = "".join(traceback.format_exception(error)).splitlines()
    # what is said may show a secret; a line of code that says key=... (they are indented) hides none
    lines = [*told(error)[1].splitlines(), *frames]
    text = "\n".join(line if line.startswith(" ") else redact(line) for line in lines)
    for handler in log.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(log.makeRecord(log.name, logging.ERROR, "", 0, text, (), None))
