"""Shards that are fetched in the background before it is their turn."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import closing, suppress
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TypeVar

from condiff.data.sample import Shard

A = TypeVar("A")
AHEAD = 4  # shards that are fetched, or wait for their turn, at a time
_MOST = 1024  # items that are looked at ahead
_GLANCE = 0.1  # seconds between looks at whether to wait on


def ahead(
    items: Iterable[A], needs: Callable[[A], Collection[Shard]], meanwhile: Callable[[], None]
) -> Iterator[A]:
    """The items, each as soon as the shards that it needs are here.

    What a shard raised that did not come is raised when it is needed. ``meanwhile`` is called now and then
    while there is nothing but to wait, and may end it by raising.
    """
    rest, queue = iter(items), deque[tuple[A, set[Shard]]]()
    with closing(_Coming()) as coming:
        while True:
            while len(queue) < _MOST and (not queue or len(coming.fresh) < AHEAD):
                following = [*islice(rest, 1)]
                if not following:
                    break
                queue.append((following[0], set(needs(following[0]))))
                coming.ask(queue[-1][1])
            if not queue:
                return
            item, shards = queue.popleft()
            coming.wait(shards, meanwhile)
            yield item
            coming.leave(shards)


class _Coming:
    """Shards on their way or here, each until all who asked left it; ``fresh`` were left by nobody yet."""

    def __init__(self) -> None:
        self.fresh, self._uses = set[Shard](), Counter[Shard]()
        self._found: dict[Shard, Future[None]] = {}
        self._tasks: SimpleQueue[tuple[Future[None], Shard] | None] = SimpleQueue()
        for _ in range(AHEAD):  # they end with the program, however long a server is silent
            threading.Thread(target=_bring, args=(self._tasks,), daemon=True).start()

    def ask(self, shards: set[Shard]) -> None:
        self._uses.update(shards)
        for shard in shards - self._found.keys():
            self._found[shard] = Future()
            self.fresh.add(shard)
            self._tasks.put((self._found[shard], shard))

    def wait(self, shards: set[Shard], meanwhile: Callable[[], None]) -> None:
        for found in [self._found[shard] for shard in shards]:
            while not found.done():
                wait([found], _GLANCE)
                meanwhile()
            found.result()

    def leave(self, shards: set[Shard]) -> None:
        self.fresh -= shards
        self._uses.subtract(shards)
        for shard in [shard for shard in shards if not self._uses[shard]]:
            del self._uses[shard], self._found[shard]

    def close(self) -> None:
        """What nobody fetches yet is not fetched any more."""
        with suppress(Empty):
            while True:
                self._tasks.get_nowait()
        for _ in range(AHEAD):
            self._tasks.put(None)


def _bring(tasks: "SimpleQueue[tuple[Future[None], Shard] | None]") -> None:
    while (task := tasks.get()) is not None:
        found, shard = task
        try:
            with shard.held():
                found.set_result(None)
        except BaseException as error:
            found.set_exception(error)
