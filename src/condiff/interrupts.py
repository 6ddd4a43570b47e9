"""Ctrl-C and SIGTERM: the step at hand is finished and saved, then the run ends with its own exit code."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
STOPPING: list[int] = []  # signals that end this process: threads that wait for something look here


class Interrupted(BaseException):
    """The run was asked to stop; not an error of its own, so nothing that handles errors takes it."""

    def __init__(self, signum: int) -> None:
        self.signum = signal.Signals(signum)
        self.exit_code = EXIT_CODES[self.signum]
        super().__init__(self.signum.name)


class Interrupts:
    """Raises Interrupted at once, or, while ``deferred``, leaves it to the loop that asks ``pending``.

    A second signal is never deferred.
    """

    def __init__(self) -> None:
        self.pending: int | None = None
        self._deferring = False
        self._installed = False

    def install(self) -> None:
        self._installed = True
        STOPPING.clear()
        self.take_back()

    def take_back(self) -> None:
        """The signals, where a library has taken them since they were installed."""
        if self._installed:
            for signum in EXIT_CODES:
                signal.signal(signum, self._arrive)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        self.stop_here()

    def stop_here(self) -> None:
        """Raise what has been put off."""
        if self.pending is not None:
            raise Interrupted(self.pending)

    def _arrive(self, signum: int, _: FrameType | None) -> None:
        first, self.pending = self.pending is None, signum
        if not (first and self._deferring):
            STOPPING.append(signum)
            raise Interrupted(signum)
