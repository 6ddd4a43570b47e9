"""Files from URLs, tried again while there is hope and only for a limited time."""

import hashlib
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from condiff.data.transport import TRANSPORTS, About, Hopeless, Passing, Transport
from condiff.errors import DataError
from condiff.interrupts import STOPPING

A = TypeVar("A")
log = logging.getLogger(__name__)
_CHUNK = 2**20
_LONGEST_PAUSE = 30.0  # seconds
_GLANCE = 0.1  # seconds between looks at whether the run is to stop


class Refused(DataError):
    """A file that is not to be had, however often one asks."""


@dataclass(frozen=True)
class Link:
    """Downloads of the schemes it is allowed.

    A silence of ``timeout`` seconds ends a try; after ``patience`` seconds there is no other. Pauses
    between tries begin with a tenth of ``timeout`` and double.
    """

    timeout: float
    patience: float
    schemes: tuple[str, ...]

    def about(self, url: str) -> About:
        return self._patiently(url, lambda transport, _: transport.about(url))

    def download(self, url: str, to: Path) -> tuple[About, str]:
        """What the server says of it, and the sha256 of what came."""
        return self._patiently(url, lambda transport, ends: _copied(transport, url, to, ends))

    def _patiently(self, url: str, once: Callable[[Transport, float], A]) -> A:
        ends = time.monotonic() + self.patience
        transport = TRANSPORTS[urlsplit(url).scheme](self.timeout, self.schemes)
        for tries, pause in enumerate(self._pauses(), start=1):
            try:
                return once(transport, ends)
            except Hopeless as error:
                raise Refused(f"data.urls: {shown(url)}: {error}") from error
            except Passing as error:
                if STOPPING or time.monotonic() + pause > ends:
                    raise DataError(
                        f"data.urls: {shown(url)}: {error}; {tries} tries in data.fetch.patience="
                        f"{self.patience:g} seconds"
                    ) from error
                log.warning("%s: %s; trying again in %.3g s", shown(url), error, pause)
            _wait(pause)
        raise AssertionError

    def _pauses(self) -> Iterator[float]:
        return (min(self.timeout / 10 * 2.0**number, _LONGEST_PAUSE) for number in itertools.count())


def shown(url: str) -> str:
    """A URL without what may be a signature."""
    return url.partition("?")[0]


def _copied(transport: Transport, url: str, to: Path, ends: float) -> tuple[About, str]:
    found = hashlib.sha256()
    to.touch()
    with transport.opened(url) as answer, to.open("r+b") as file:  # which may have its size already
        while part := answer.read(_CHUNK):
            file.write(part)
            found.update(part)
            if STOPPING or time.monotonic() > ends:
                raise Passing(f"only {file.tell()} bytes came in time")
        file.truncate()
        size, count = answer.about.size, file.tell()
    if size is not None and count != size:
        raise Passing(f"{count} of {size} bytes came")
    return answer.about, found.hexdigest()


def _wait(seconds: float) -> None:
    ends = time.monotonic() + seconds
    while not STOPPING and (left := ends - time.monotonic()) > 0:
        time.sleep(min(left, _GLANCE))
