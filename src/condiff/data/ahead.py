"""Shards that are fetched in the background before it is their turn."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TypeVar

from condiff.data.shards import Shard

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
    uses, coming, fresh = Counter[Shard](), dict[Shard, Future[None]](), set[Shard]()
    tasks: SimpleQueue[tuple[Future[None], Shard] | None] = SimpleQueue()
    for _ in range(AHEAD):  # they end with the program, however long a server is silent
        threading.Thread(target=_bring, args=(tasks,), daemon=True).start()
    try:
        while True:
            while len(queue) < _MOST and (not queue or len(fresh) < AHEAD):
                following = [*islice(rest, 1)]
                if not following:
                    break
                queue.append((following[0], set(needs(following[0]))))
                uses.update(queue[-1][1])
                for shard in queue[-1][1] - coming.keys():
                    coming[shard] = Future()
                    fresh.add(shard)
                    tasks.put((coming[shard], shard))
            if not queue:
                return
            item, shards = queue.popleft()
            for shard in shards:
                _await(coming[shard], meanwhile)
            yield item
            uses.subtract(shards)
            fresh -= shards
            for shard in [shard for shard in shards if not uses[shard]]:
                del uses[shard], coming[shard]
    finally:
        with suppress(Empty):  # nobody waits for them any more
            while True:
                tasks.get_nowait()
        for _ in range(AHEAD):
            tasks.put(None)


def _bring(tasks: "SimpleQueue[tuple[Future[None], Shard] | None]") -> None:
    while (task := tasks.get()) is not None:
        future, shard = task
        try:
            with shard.held():
                future.set_result(None)
        except BaseException as error:
            future.set_exception(error)


def _await(future: "Future[None]", meanwhile: Callable[[], None]) -> None:
    while not future.done():
        wait([future], _GLANCE)
        meanwhile()
    future.result()
