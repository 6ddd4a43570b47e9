"""A difference of two settings over seeds, and two intervals of it that cover different things.

Two runs of one seed share their training where the setting does not change it, their noise and what they
were asked for; their difference is taken there. What is left is chance of two kinds: which samples were
drawn, and which trainings.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from condiff.reports.paired import Difference, of_hits, t_quantile
from condiff.reports.runs import Run

SAME, ALIKE = "the same", "not told apart"
Interval = tuple[float, float]
Measured = tuple[float, float, float]  # a value and the ends of its interval


@dataclass(frozen=True)
class Pair:
    """A run less another of the same seed."""

    run: Run
    reference: Run
    value: float
    found: Difference | None  # with its interval over samples, where there is one
    trained: str = ""  # the trainings that both came from
    is_paired: bool = True  # sample by sample; or only by seed


@dataclass(frozen=True)
class OverSeeds:
    """The mean of such differences, with 95 % intervals.

    samples: covers other samples of these trainings.
    trainings: covers other trainings and their samples; None of one alone. Of pairs of samples it is
        never the shorter of the two, since hits of few trainings may well be as many by chance.
    """

    value: float
    samples: Interval | None
    trainings: Interval | None
    pairs: Sequence[Pair]
    num_trainings: int

    @property
    def is_same(self) -> bool:
        """Whether nothing at all differs, as where two rules are one at some scale."""
        return all(pair.value == 0 and not (pair.found and pair.found.discordant) for pair in self.pairs)

    @property
    def is_told_apart(self) -> bool:
        """Whether it holds for other trainings, too."""
        return _leaves_zero_out(self.trainings)

    @property
    def is_told_apart_here(self) -> bool:
        """Whether it holds for these trainings at least, for other samples of them."""
        return self.is_told_apart or _leaves_zero_out(self.samples)

    def verdict(self, more_is_better: bool | None) -> str:
        """In words; "here" where nothing is known of other trainings."""
        if self.is_same:
            return SAME
        if not self.is_told_apart_here:
            return ALIKE
        up, down = ("more", "less") if more_is_better is None else ("better", "worse")
        word = up if (self.value > 0) == (more_is_better is not False) else down
        return word if self.is_told_apart else f"{word} here"

    @property
    def n(self) -> int:
        """Samples of all seeds together; 0 for what has no interval over them."""
        return sum(pair.found.n for pair in self.pairs if pair.found)

    @property
    def hits(self) -> tuple[int, int] | None:
        """How many were gained and lost; None for what is no hit or miss."""
        found = [(pair.found.gained, pair.found.lost) for pair in self.pairs if pair.found]
        counts = [(gained, lost) for gained, lost in found if gained is not None and lost is not None]
        return (sum(one for one, _ in counts), sum(one for _, one in counts)) if counts else None

    @property
    def is_paired(self) -> bool:
        """Whether it was taken sample by sample."""
        return all(pair.is_paired for pair in self.pairs)


def over_seeds(pairs: Sequence[Pair]) -> OverSeeds | None:
    """The mean over trainings of the differences of each; None where no interval of any kind is known."""
    own: dict[str, list[float]] = {}
    for pair in pairs:
        own.setdefault(pair.trained, []).append(pair.value)
    means = [fmean(values) for values in own.values()]
    value = fmean(means)
    samples, trainings = _over_samples(value, pairs), _over_trainings(means)
    if samples and trainings and all(pair.is_paired for pair in pairs):
        trainings = min(samples[0], trainings[0]), max(samples[1], trainings[1])
    elif trainings and trainings[0] == trainings[1]:
        trainings = None  # equal by chance, or as whole numbers are: no deviation to judge by
    return OverSeeds(value, samples, trainings, pairs, len(own)) if samples or trainings else None


def apart(one: Measured, other: Measured, n: int) -> Difference:
    """A value less another, its interval put together from theirs as of independent samples.

    Each end is as far off as the root of the sum of the squares of what both may be off there (Zou & Donner
    2008, of a difference). Too wide for samples of one noise, which move together: for metrics, and for runs,
    that have no values per sample.
    """
    (x, x_low, x_high), (y, y_low, y_high) = one, other
    down, up = math.hypot(x - x_low, y_high - y), math.hypot(x_high - x, y - y_low)
    return Difference(x - y, x - y - down, x - y + up, n)


def _over_samples(value: float, pairs: Sequence[Pair]) -> Interval | None:
    """Hits and misses of all seeds count together; of others the squares of half-lengths add up."""
    found = [pair.found for pair in pairs if pair.found is not None]
    if not found or len(found) < len(pairs):
        return None
    hits = [(one.gained, one.lost) for one in found]
    counts = [(gained, lost) for gained, lost in hits if gained is not None and lost is not None]
    if len(counts) == len(found):
        n = sum(one.n for one in found)
        one = of_hits(sum(gained for gained, _ in counts), sum(lost for _, lost in counts), n)
        return value + one.low - one.value, value + one.high - one.value
    down = math.hypot(*(one.value - one.low for one in found)) / len(found)
    up = math.hypot(*(one.high - one.value for one in found)) / len(found)
    return value - down, value + up


def _over_trainings(means: Sequence[float]) -> Interval | None:
    """Student's interval of the differences of several trainings."""
    if len(means) < 2:
        return None
    half = t_quantile(len(means) - 1) * stdev(means) / math.sqrt(len(means))
    return fmean(means) - half, fmean(means) + half


def _leaves_zero_out(interval: Interval | None) -> bool:
    return interval is not None and (interval[0] > 0 or interval[1] < 0)
