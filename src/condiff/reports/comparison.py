"""What a comparison of finished runs says, as plain data, and what follows from it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

from condiff.reports.over_seeds import OverSeeds
from condiff.reports.runs import (
    Estimate,
    Run,
    Setting,
    differences,
    estimate,
    floor_of,
    metric_names,
    settings_of,
)

_DISTANCES = ("fd", "fid", "sfid")


@dataclass(frozen=True)
class Losses:
    """What one training logged: its stage, the numbers of log.jsonl, and the runs that share it."""

    stage: str
    rows: Sequence[Mapping[str, Any]]
    runs: Sequence[Run]


@dataclass(frozen=True)
class Pictures:
    """Samples of one noise under several settings."""

    seed: Any
    rows: Sequence[str]  # what each sample was to show
    columns: Mapping[int, np.ndarray]  # by the place of the setting: [N, H, W] or [N, H, W, 3] uint8
    before: Mapping[str, np.ndarray] = field(default_factory=dict)  # of all settings: sources and answers


@dataclass(frozen=True)
class Pairs:
    """Settings less others of them, on the same samples where values per sample are there."""

    references: Sequence[int] = ()  # places of settings that all are shown less of, first the default
    # by the place of a setting and of what it is less of, then by metric
    found: Mapping[tuple[int, int], Mapping[str, OverSeeds]] = field(default_factory=dict)
    alone: Sequence[tuple[Run, str]] = ()  # runs that share their samples with no other, and why
    without: str = ""  # why no run has values per sample, and what to do


@dataclass(frozen=True)
class Best:
    """The settings that a metric is best at, and those whose interval meets that of the best."""

    places: frozenset[int] = frozenset()
    near: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Comparison:
    """Finished runs beside each other."""

    title: str
    question: str
    command: str
    runs: Sequence[Run]
    directions: Mapping[str, bool | None]  # of each metric: whether more is better, None where unknown
    pictures: Sequence[Pictures] = ()
    losses: Sequence[Losses] = ()
    failed: Sequence[tuple[str, str]] = ()  # overrides of the jobs that failed, and what was wrong
    notes: Sequence[str] = ()
    pairs: Pairs = field(default_factory=Pairs)

    @cached_property
    def table(self) -> dict[str, list[Any]]:
        """What differs, and its value in each run."""
        return differences(self.runs)

    @cached_property
    def settings(self) -> list[Setting]:
        return settings_of(self.runs, self.table)

    @cached_property
    def metrics(self) -> list[str]:
        return metric_names(self.runs)

    @cached_property
    def has_seeds(self) -> bool:
        """Whether some setting was run more than once."""
        return len(self.settings) < len(self.runs)

    @cached_property
    def best(self) -> dict[str, Best]:
        return {name: self._best(name) for name in self.metrics}

    def place_of(self, run: Run) -> int:
        """The place of the setting that a run belongs to."""
        return next(
            place for place, setting in enumerate(self.settings) if any(one is run for one in setting.runs)
        )

    @cached_property
    def estimates(self) -> dict[str, list[Estimate | None]]:
        """What each setting has of each metric."""
        return {name: [estimate(setting.runs, name) for setting in self.settings] for name in self.metrics}

    def floor(self, metric: str) -> float | None:
        """What real data reaches, the mean over runs."""
        found = [floor for run in self.runs if (floor := floor_of(metric, run.metrics)) is not None]
        return fmean(floor["value"] for floor in found) if found else None

    def arrow(self, metric: str) -> str:
        """↑ where more is better, ↓ where less is."""
        return {True: "↑", False: "↓", None: ""}[self.directions.get(metric)]

    def protocols(self, metric: str) -> set[tuple[str, int]]:
        """How it was measured, and of how many; numbers of different protocols do not compare."""
        entries = (run.metrics[metric] for run in self.runs if metric in run.metrics)
        return {(protocol_of(str(entry["protocol"])), entry["n"]) for entry in entries}

    @cached_property
    def judged_by(self) -> str | None:
        """The metric that settings are ranked by first: a distance, or else one whose best is known."""
        ranked = [name for name in self.metrics if self.best[name].places]
        return next((name for name in ranked if self.is_distance(name)), next(iter(ranked), None))

    def is_distance(self, metric: str) -> bool:
        return has_word(metric, _DISTANCES) and self.arrow(metric) == "↓"

    def is_alike(self, metric: str, place: int, other: int) -> bool:
        """Whether two settings are not told apart, over samples of the trainings that are here.

        By their difference in pairs, and where there is none by whether their intervals meet.
        """
        pair = self.pair(metric, place, other)
        if pair is not None:
            return not pair.is_told_apart_here
        one, two = (self.estimates[metric][k] for k in (place, other))
        return one is not None and two is not None and _meet(one, two)

    def pair(self, metric: str, place: int, other: int) -> OverSeeds | None:
        """The difference in pairs of two settings, whichever of them is less the other."""
        found = self.pairs.found
        return found.get((place, other), {}).get(metric) or found.get((other, place), {}).get(metric)

    def _best(self, metric: str) -> Best:
        """Nothing where the direction is unknown, protocols differ or all are alike."""
        more, found = self.directions.get(metric), self.estimates[metric]
        known = {place: one for place, one in enumerate(found) if one is not None}
        values = {one.value for one in known.values()}
        if more is None or len(values) < 2 or len(self.protocols(metric)) > 1:
            return Best()
        top = max(values) if more else min(values)
        places = frozenset(place for place, one in known.items() if one.value == top)
        first = min(places)
        near = (place for place in known if place not in places and self.is_alike(metric, place, first))
        near = frozenset(near)
        return Best(places, near)


def has_word(name: str, words_of: Collection[str]) -> bool:
    """Whether a metric is one of these; its deviation is none."""
    return bool({*name.split("_")} & {*words_of}) and "std" not in name.split("_")


def measured_key(run: Run) -> str:
    """The key of the artifact that the metrics are from."""
    stage = run.stages.get("metrics") or run.stages.get("evaluation") or {}
    return str(stage.get("key", ""))


def evenly(count: int, most: int) -> list[int]:
    """At most so many of the places 0..count-1, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(k * (count - 1) / (most - 1)) for k in range(most)}) if most > 1 else [0]


def protocol_of(text: str) -> str:
    """How it was measured, without what it says of these samples alone."""
    first, *more = text.split("; ")
    return "; ".join([first, *(part for part in more if part.startswith(("train:", "targets:")))])


def _meet(one: Estimate, other: Estimate) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high
