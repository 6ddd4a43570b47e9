"""The order of samples that come shard by shard: mixed among a few shards that follow one another."""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import numpy as np

OPEN = 8  # shards among which samples are mixed


@dataclass(frozen=True, eq=False)
class ShardOrder:
    """Of shards of so many samples each, numbered on from shard to shard.

    Shards are drawn for an epoch: each once, or, ``resampled``, any as often as chance has it until there are
    as many samples as the set has. Those of the s-th that is drawn stand in the order of s + OPEN * u with a
    u in [0, 1) of each: one shard after the other opens, and at no place are more than OPEN + 1 open.
    """

    counts: tuple[int, ...]
    resampled: bool

    def __call__(self, num: int, seed: int, epoch: int) -> np.ndarray:
        """[num] int64, a function of the seed and the epoch alone; num: of all samples."""
        assert num == sum(self.counts), f"the shards have {sum(self.counts)} samples, not {num}"
        return _order(self, seed, epoch)


@lru_cache(maxsize=4)
def _order(shards: ShardOrder, seed: int, epoch: int) -> np.ndarray:
    rng = np.random.default_rng(int.from_bytes(sha256(f"shards {seed} {epoch}".encode()).digest()[:8]))
    counts = np.asarray(shards.counts)
    drawn = _resampled(counts, rng) if shards.resampled else rng.random(len(counts)).argsort(kind="stable")
    turn = np.repeat(np.arange(len(drawn)), counts[drawn])
    samples = np.repeat(_starts(counts)[drawn] - _starts(counts[drawn]), counts[drawn]) + np.arange(len(turn))
    places = (turn + OPEN * rng.random(len(turn))).argsort(kind="stable")
    return samples[places[: counts.sum()]]


def _resampled(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shards drawn with replacement until they have as many samples as all of them."""
    drawn = np.zeros(0, dtype=np.int64)
    while counts[drawn].sum() < counts.sum():
        drawn = np.append(drawn, (len(counts) * rng.random(len(counts))).astype(np.int64))
    return drawn[: int(np.searchsorted(counts[drawn].cumsum(), counts.sum())) + 1]


def _starts(counts: np.ndarray) -> np.ndarray:
    return counts.cumsum() - counts
