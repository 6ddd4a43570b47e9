"""How long a training takes, without what happens in between."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds of training, by a clock that is never set back; what is done while it is stopped costs none."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.start += time.monotonic() - begun

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.monotonic()
        seconds, self.start = now - self.start, now
        return seconds
