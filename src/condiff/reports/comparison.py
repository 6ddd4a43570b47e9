"""What a comparison of finished runs says, as plain data, and what follows from it."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

from condiff.reports.paired import Difference
from condiff.reports.redact import redact
from condiff.reports.runs import (
    SEED,
    Estimate,
    Run,
    Setting,
    differences,
    estimate,
    floor_of,
    metric_names,
    settings_of,
)


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
    """Runs whose samples came from one noise and were to show the same, each less one of them."""

    reference: Run
    n: int  # samples of each
    rows: Sequence[tuple[Run, Mapping[str, Difference]]]  # by metric, of the others


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
    pairs: Sequence[Pairs] = ()
    alone: Sequence[tuple[Run, str]] = ()  # runs that share their samples with no other, and why

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

    def _best(self, metric: str) -> Best:
        """Nothing where the direction is unknown, protocols differ or all are alike."""
        more, found = self.directions.get(metric), self.estimates[metric]
        known = {place: one for place, one in enumerate(found) if one is not None}
        values = {one.value for one in known.values()}
        if more is None or len(values) < 2 or len(self.protocols(metric)) > 1:
            return Best()
        top = max(values) if more else min(values)
        places = frozenset(place for place, one in known.items() if one.value == top)
        first = known[min(places)]
        near = frozenset(place for place, one in known.items() if place not in places and _meet(one, first))
        return Best(places, near)


def results(comparison: Comparison) -> str:
    """results.csv: a line a run and metric, the settings that differ before it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    last = ["metric", "value", "low", "high", "n", "protocol", "run", "metrics_key"]
    writer.writerow([*comparison.table, SEED, *last, *_PAIRED])
    paired = _paired(comparison)
    for place, run in enumerate(comparison.runs):
        values = [redact({path: column[place]})[path] for path, column in comparison.table.items()]
        for name, metric in run.metrics.items():
            low, high = metric["interval"] or ("", "")
            row = [name, metric["value"], low, high, metric["n"], metric["protocol"], run.folder]
            less = paired.get((id(run), name), [""] * len(_PAIRED))
            writer.writerow([*values, run.config.get(SEED), *row, measured_key(run), *less])
    return text.getvalue()


_PAIRED = ("less_run", "difference", "difference_low", "difference_high", "discordant")


def _paired(comparison: Comparison) -> dict[tuple[int, str], list[Any]]:
    """What the table says of a run less its reference, by the run and the metric."""
    return {
        (id(run), name): [group.reference.folder, one.value, one.low, one.high, one.discordant]
        for group in comparison.pairs
        for run, found in group.rows
        for name, one in found.items()
    }


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
