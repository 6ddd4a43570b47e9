"""What can go wrong for a user, and the exit code that says so.

Each error holds one line per mistake; a line starts with the config path or the file it is about.
"""

import traceback
from pathlib import Path


class CondiffError(Exception):
    """A fault to be told in plain lines, without a traceback."""

    exit_code = 1

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines

    def __str__(self) -> str:
        return "\n".join(f"error[{self.exit_code}]: {line}" for line in self.lines)


class ConfigError(CondiffError):
    """The config cannot run: an unknown key, a value out of range, choices that do not fit."""

    exit_code = 2


class DataError(CondiffError):
    """The data cannot be used: a missing folder, an undecodable picture, a label outside the classes."""

    exit_code = 3


class ArtifactError(CondiffError):
    """A checkpoint or artifact is damaged, stale or does not fit the config."""

    exit_code = 4


class DivergedError(CondiffError):
    """A loss or gradient is no longer finite."""

    exit_code = 5


class EnvironmentFault(CondiffError):
    """The machine is in the way: disk full, folder not writable, lock not released."""

    exit_code = 6


class OutOfMemory(CondiffError):
    """The batch does not fit into memory."""

    exit_code = 7


def fault(error: BaseException) -> CondiffError:
    """An error as it is told: one of this package's own, or a bug with its place."""
    if isinstance(error, CondiffError):
        return error
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return OutOfMemory(
            "trainer.batch_size: out of memory; halve it, or set a smaller network or data.size"
        )
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return CondiffError(f"{type(error).__name__}{place}: {error}; runtime.debug=true shows the traceback")


def told(error: BaseException) -> tuple[int, str]:
    """Exit code and the lines for stderr of whatever went wrong."""
    said = fault(error)
    return said.exit_code, str(said)
