"""Where a run is told of beside its own artifacts: one small face, and a list that nothing can stop."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from condiff.errors import CondiffError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """A stage that begins to train."""

    stage: str
    key: str
    resumed: bool
    config: Mapping[str, Any]  # what the stage reads, without secrets
    model: Mapping[str, Any]  # its parameters, counted


@dataclass(frozen=True)
class Told:
    """What there is to say of a whole run."""

    name: str
    job: str  # study, evaluation, statistics or sweep
    folder: Path
    config: Mapping[str, Any]  # resolved, without secrets
    keys: Mapping[str, str]  # of its stages
    commit: str | None


@dataclass(frozen=True)
class Outcome:
    """What a finished run has found; files that it does not have are not there."""

    metrics: Mapping[str, Mapping[str, Any]]
    samples: Path
    report: Path
    trained: Mapping[str, Path] = field(default_factory=dict)  # folders, by stage
    since: Mapping[str, float] = field(default_factory=dict)  # the step from which on hints are obeyed


class Logger(Protocol):
    """Hears of a run: its start, of each training its begin, rows, pictures and end, its result, its finish.

    Rows and pictures are of the stage that began last.
    """

    def start(self, told: Told) -> None: ...

    def begin(self, training: Training) -> None: ...

    def scalars(self, step: int, values: Mapping[str, float]) -> None: ...

    def picture(self, step: int, path: Path) -> None: ...

    def end(self) -> None: ...

    def result(self, outcome: Outcome) -> None: ...

    def finish(self, exit_code: int) -> None: ...


class Loggers:
    """All of them at once; one that fails is told of in a line and left out from then on."""

    def __init__(self, loggers: Sequence[Logger]) -> None:
        self.loggers = list(loggers)

    def start(self, told: Told) -> None:
        self._each(lambda logger: logger.start(told))

    def begin(self, training: Training) -> None:
        self._each(lambda logger: logger.begin(training))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._each(lambda logger: logger.scalars(step, values))

    def picture(self, step: int, path: Path) -> None:
        self._each(lambda logger: logger.picture(step, path))

    def end(self) -> None:
        self._each(lambda logger: logger.end())

    def result(self, outcome: Outcome) -> None:
        self._each(lambda logger: logger.result(outcome))

    def finish(self, exit_code: int) -> None:
        self._each(lambda logger: logger.finish(exit_code))

    def _each(self, do: Callable[[Logger], None]) -> None:
        for logger in self.loggers[:]:
            try:
                do(logger)
            except CondiffError:  # asked for and not to be had
                raise
            except Exception as error:  # whatever is wrong with a logger, a study does not end for it
                self.loggers.remove(logger)
                said = str(error).splitlines()[:1] or [type(error).__name__]
                log.warning("%s is left out from here on: %s", type(logger).__name__, said[0])
