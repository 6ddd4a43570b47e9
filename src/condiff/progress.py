"""Progress bars: on a terminal a bar, elsewhere a line now and then."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")


def bar(total: int, what: str, done: int = 0) -> "tqdm[Any]":
    """A bar to be updated by hand; cheap enough to be updated at every training step."""
    seconds = 0.2 if sys.stderr.isatty() else 10.0
    return tqdm(
        total=total,
        desc=what,
        initial=done,
        delay=1.0,  # what takes less shows nothing
        mininterval=seconds,
        maxinterval=seconds,
        dynamic_ncols=True,
    )


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items, with a bar that counts them."""
    with bar(total, what) as shown:
        for item in items:
            yield item
            shown.update()
