"""Which examples a batch holds, and how batches reach the training loop.

Batch k is a pure function of (seed, k): resuming means starting at k, and neither the number of
workers nor of devices changes what a step sees.
"""

import hashlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from condiff.data.ahead import ahead
from condiff.data.dataset import Batch, ShardDataset
from condiff.data.pairs import Pairs, Row
from condiff.data.shard_order import ShardOrder
from condiff.errors import CondiffError, EnvironmentFault

_GLANCE = 1.0  # seconds between looks at whether to wait on for a worker


class Batches(Sampler[list[Row]]):
    """Endless batches over one permutation of the examples after another.

    ``sizes`` are those of one or several sets, of each the numbers of examples in its buckets, which all sets
    have alike; examples are numbered on. A batch is of one bucket, that of the first set's example whose turn
    it is: over as many batches as that has examples, each bucket has as many as it has examples of it, so
    that all are seen as often. Place j is of set j % S, the (j // S)-th of the n that are. It stands at
    p = k * n + j // S in the bucket's k-th batch: epoch p // N, entry p % N of that epoch's permutation of
    the N that the set has in the bucket. Nothing is dropped and a batch may be larger than a set. ``places``
    are those of the global batch that this process takes; a set with an entry in ``orders`` has this order in
    place of a permutation.
    """

    def __init__(
        self,
        sizes: Sequence[Sequence[int]],
        batch_size: int,
        seed: int,
        start: int = 0,
        places: range | None = None,
        orders: Sequence[ShardOrder | None] | None = None,
    ) -> None:
        self.places = range(batch_size) if places is None else places
        if min(map(min, sizes)) < 1 or batch_size < len(sizes) or start < 0:
            raise ValueError(f"batches need examples, a size and a start, got {sizes}, {batch_size}, {start}")
        if not self.places or min(self.places) < 0 or max(self.places) >= batch_size:
            raise ValueError(f"places must lie in 0..{batch_size - 1}, got {self.places}")
        self.sizes, self.batch_size, self.seed, self.start = sizes, batch_size, seed, start
        self.orders = orders or [None] * len(sizes)

    def __iter__(self) -> Iterator[list[Row]]:
        step = self.start
        while True:
            yield self.batch(step)
            step += 1

    def batch(self, step: int) -> list[Row]:
        """The rows of one step."""
        bucket, k = self._bucket(step)
        return [(step, place, self._index(bucket, k, place)) for place in self.places]

    def _bucket(self, step: int) -> tuple[int, int]:
        """The one of a batch, and how many batches before it had the same."""
        own = tuple(self.sizes[0])
        if len(own) == 1:
            return 0, step
        turn, at = divmod(step, sum(own))
        buckets = turns(own, self.seed, turn)
        bucket = int(buckets[at])
        return bucket, turn * own[bucket] + int((buckets[:at] == bucket).sum())

    def _index(self, bucket: int, k: int, place: int) -> int:
        """Of the example at a place of the bucket's k-th batch."""
        among, which = divmod(place, len(self.sizes))
        num = len(range(which, self.batch_size, len(self.sizes)))  # places of its set in a batch
        own = self.sizes[which]
        epoch, entry = divmod(k * num + among, own[bucket])
        start = sum(map(sum, self.sizes[:which])) + sum(own[:bucket])
        order = self.orders[which] or permutation
        return start + int(order(own[bucket], self.seed, epoch)[entry])


@lru_cache(maxsize=2)
def turns(sizes: tuple[int, ...], seed: int, turn: int) -> Tensor:
    """The buckets of as many batches as there are examples, [N] int64."""
    order, ends = torch.tensor(permutation(sum(sizes), seed, turn)), torch.tensor(sizes).cumsum(0)
    return torch.bucketize(order, ends, right=True)


@lru_cache(maxsize=4)
def permutation(num_examples: int, seed: int, epoch: int) -> list[int]:
    """The order of the examples in an epoch."""
    name = hashlib.sha256(f"order {seed} {epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(name[:7], "big"))
    return torch.randperm(num_examples, generator=generator).tolist()


def loader(
    dataset: ShardDataset | Pairs,
    batches: Batches,
    num_workers: int = 0,
    stop: Callable[[], None] = lambda: None,
    alive: Callable[[], None] = lambda: None,
) -> DataLoader[Batch]:
    """Batches in their order; a set held in memory has nothing to decode and takes no workers.

    ``stop`` is called now and then while the next batch is waited for, and may end that by raising; also
    where a worker has died, as a signal to all processes of a run ends its workers first. The shards of a set
    that is streamed are fetched ahead of the batches: while they are waited for, which has its own bound,
    ``alive`` is called as well.
    """

    def meanwhile() -> None:
        alive()
        stop()

    sampler = _Ahead(batches, dataset, meanwhile) if dataset.is_streamed else batches
    return _Loader(dataset, sampler, 0 if dataset.held else num_workers, stop)


class _Ahead(Sampler[list[Row]]):
    """Batches whose shards are here."""

    def __init__(self, batches: Batches, data: ShardDataset | Pairs, meanwhile: Callable[[], None]) -> None:
        self.batches, self.data, self.meanwhile = batches, data, meanwhile

    def __iter__(self) -> Iterator[list[Row]]:
        return ahead(self.batches, self.data.needs, self.meanwhile)


class _Told(torch.utils.data.Dataset[Any]):
    """Hands a fault over as it is, where a worker would wrap it in a traceback."""

    def __init__(self, dataset: ShardDataset | Pairs) -> None:
        self.dataset = dataset

    def __getitems__(self, rows: list[Row]) -> Batch | CondiffError:
        try:
            return self.dataset.__getitems__(rows)
        except CondiffError as error:
            return error


class _Loader(DataLoader[Any]):
    def __init__(
        self,
        dataset: ShardDataset | Pairs,
        batches: Sampler[list[Row]],
        num_workers: int,
        stop: Callable[[], None],
    ) -> None:
        self.stop = stop
        # Spawned workers inherit no locks; an own generator keeps the global one untouched.
        super().__init__(
            _Told(dataset),
            batch_sampler=batches,
            num_workers=num_workers,
            timeout=_GLANCE if num_workers else 0,
            collate_fn=_as_it_is,
            multiprocessing_context="spawn" if num_workers else None,
            generator=torch.Generator().manual_seed(0),
            worker_init_fn=_deaf_to_ctrl_c,
        )

    def __iter__(self) -> Any:
        before = {*multiprocessing.active_children()}
        loaded = self._loaded()
        workers = {*multiprocessing.active_children()} - before
        try:
            yield from self._batches(loaded)
        finally:
            for worker in workers:  # the library waits for each that hangs
                worker.kill()

    def _batches(self, loaded: Iterator[Any]) -> Iterator[Batch]:
        key = "the start"
        while True:
            try:
                batch = next(loaded)
            except (RuntimeError, OSError, EOFError) as error:
                if not self.num_workers or not (_is_late(error) or _is_a_death(error)):
                    raise
                self.stop()
                if _is_late(error):
                    continue
                what = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise EnvironmentFault(
                    f"runtime.num_workers: a worker died after {key} ({what}); try fewer workers"
                ) from error
            if isinstance(batch, CondiffError):
                raise batch
            key = f"step {batch['step']}, {batch['key'][-1]}"
            yield batch

    def _loaded(self) -> Iterator[Any]:
        """The library's iterator, without its signal handler.

        On a worker's death that handler raises wherever the program happens to stand; without it
        the iterator notices by itself within seconds, when the next batch is asked for.
        """
        if not self.num_workers or threading.current_thread() is not threading.main_thread():
            return super().__iter__()
        before = signal.getsignal(signal.SIGCHLD)
        try:
            return super().__iter__()
        finally:
            signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


def _deaf_to_ctrl_c(_: int) -> None:
    """A terminal sends Ctrl-C to workers as well: the run itself says when they end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _is_late(error: Exception) -> bool:
    """Whether workers have not answered yet; they may be asked again."""
    return str(error).startswith("DataLoader timed out")


def _is_a_death(error: Exception) -> bool:
    """Whether the worker is gone, rather than an exception of its own being raised again here."""
    told = str(error)
    return told.startswith("DataLoader worker") or not (
        told.startswith("Caught ") or isinstance(error, RuntimeError)
    )


def _as_it_is(batch: Any) -> Any:
    return batch
