"""Compared runs in pairs: values per sample of those that share their samples, read from their artifacts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from condiff.reports.comparison import Comparison, Pairs, evenly, protocol_of
from condiff.reports.comparison_axes import contrasts
from condiff.reports.over_seeds import OverSeeds, Pair, apart, over_seeds
from condiff.reports.paired import Difference, difference
from condiff.reports.runs import SEED, Run
from condiff.stages.run_folders import per_sample_of
from condiff.stages.stage import ASKED

OTHERWISE = "measured in another way"
UNKNOWN = "no values per sample in the cache"
MOST_ROWS = 2000  # of all references of a page together
_OF_ONE_SETTING = ("samples", "metrics", "evaluation")  # stages that are no training, nor come before one


def pairs_of(comparison: Comparison) -> Pairs:
    """Settings less the best one or another that a reader chooses, and less those of another choice."""
    held = {id(run): _Held.of(run) for run in comparison.runs}
    if not any(one.values for one in held.values()):
        alone, without = [], _without(comparison.runs)
    else:
        several = len(comparison.settings) > 1
        alone, without = _alone(comparison, held) if several else [], ""
    references = _references(comparison, held)
    wanted = {(place, less) for less in references for place in range(len(comparison.settings))}
    wanted |= {places for contrast in contrasts(comparison) for places in contrast.at.values()}
    found = {
        (place, less): own
        for place, less in sorted(wanted)
        if place != less and (own := _less(comparison, held, place, less))
    }
    kept = [less for less in references if any(of == less for _, of in found)]
    return Pairs(kept, found, alone, without)


@dataclass(frozen=True)
class _Noise:
    """What samples depend on beside the setting: two runs in which it agrees differ in the setting alone."""

    seed: Any
    data: str
    autoencoder: str

    @classmethod
    def of(cls, run: Run) -> "_Noise":
        data, autoencoder = (
            str((run.stages.get(stage) or {}).get("key")) for stage in ("data", "autoencoder")
        )
        return cls(run.config.get(SEED), data, autoencoder)


@dataclass(frozen=True)
class _Held:
    """What the samples of a run gave to metrics that are means over them; empty where that is not there."""

    noise: _Noise
    values: Mapping[str, np.ndarray]
    number: int = 0
    conditions: str = ""

    @classmethod
    def of(cls, run: Run) -> "_Held":
        noise, path = _Noise.of(run), per_sample_of(run)
        if path is None:
            return cls(noise, {})
        try:
            with safe_open(path, framework="numpy") as file:
                values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
                asked = (file.metadata() or {}).get(ASKED, "")
        except (OSError, SafetensorError):
            return cls(noise, {})
        counts = {len(own) for own in values.values()}
        return cls(noise, values, counts.pop(), asked) if len(counts) == 1 else cls(noise, {})

    def shares(self, other: "_Held") -> bool:
        """Whether both were drawn from one noise and asked for the same, as far as is known."""
        known = bool(self.values and other.values)
        same = (self.number, self.conditions) == (other.number, other.conditions)
        return self.noise == other.noise and (same or not known)

    def unlike(self, other: "_Held") -> str:
        """In what it is other than most; nothing shared with any where these are most."""
        told = [
            words for name, words in _OTHER.items() if getattr(self.noise, name) != getattr(other.noise, name)
        ]
        told += ["another number of samples"] if self.number != other.number else []
        told += ["other conditions"] if self.conditions != other.conditions else []
        return " and ".join(told) or "no other like it"


_OTHER = {"seed": "another seed", "data": "other data", "autoencoder": "another autoencoder"}


def _references(comparison: Comparison, held: Mapping[int, _Held]) -> list[int]:
    """The setting that is best by the metric a page judges by, and others in their order, as many as fit."""
    many = len(comparison.settings)
    judged, first = comparison.judged_by, 0
    found = comparison.estimates[judged] if judged else []
    ranked = {
        place: one.value for place, one in enumerate(found) if one and _partners(comparison, held, place)
    }
    if judged and ranked:
        sign = -1 if comparison.directions[judged] else 1
        first = min(ranked, key=lambda place: sign * ranked[place])
    rest = [place for place in range(many) if place != first]
    kept = evenly(len(rest), max(1, MOST_ROWS // many) - 1)
    return [first, *(rest[k] for k in kept)]


def _partners(comparison: Comparison, held: Mapping[int, _Held], place: int) -> bool:
    """Whether some other setting shares samples with this one."""
    own = [held[id(run)] for run in comparison.settings[place].runs]
    return any(
        one.shares(held[id(run)]) and bool(one.values) == bool(held[id(run)].values)
        for k, setting in enumerate(comparison.settings)
        if k != place
        for run in setting.runs
        for one in own
    )


def _less(comparison: Comparison, held: Mapping[int, _Held], place: int, less: int) -> dict[str, OverSeeds]:
    """Of each metric a setting less another, over the seeds that both have."""
    runs, others = (comparison.settings[k].runs for k in (place, less))
    first: dict[_Noise, Run] = {}
    for run in runs:
        first.setdefault(held[id(run)].noise, run)
    matched = [
        (run, other)
        for run in first.values()
        if (other := next((one for one in others if held[id(run)].shares(held[id(one)])), None))
    ]
    found = {}
    for name in comparison.metrics:
        pairs = [_pair(run, other, held, name) for run, other in matched]
        own = over_seeds([pair for pair in pairs if pair]) if any(pairs) else None
        found |= {} if own is None else {name: own}
    return found


def _pair(run: Run, other: Run, held: Mapping[int, _Held], metric: str) -> Pair | None:
    """Sample by sample where both have values, or else of the two numbers; None where they do not compare."""
    way = _way(run, metric)
    if way is None or way != _way(other, metric):
        return None
    own, values = held[id(run)].values.get(metric), held[id(other)].values.get(metric)
    trained = f"{_trained(run)} {_trained(other)}"
    if own is not None and values is not None:
        found = difference(own, values)
        return found and Pair(run, other, found.value, found, trained)
    one, two = run.metrics[metric], other.metrics[metric]
    value = one["value"] - two["value"]
    if one["n"] != two["n"] or not np.isfinite(value):
        return None
    return Pair(run, other, value, _apart(one, two), trained, is_paired=False)


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> Difference | None:
    if not one["interval"] or not other["interval"]:
        return None
    return apart((one["value"], *one["interval"]), (other["value"], *other["interval"]), one["n"])


def _way(run: Run, metric: str) -> str | None:
    entry = run.metrics.get(metric)
    return None if entry is None else protocol_of(str(entry["protocol"]))


def _trained(run: Run) -> str:
    """The keys of all that was made before its samples."""
    return " ".join(str(own.get("key")) for stage, own in run.stages.items() if stage not in _OF_ONE_SETTING)


def _alone(comparison: Comparison, held: Mapping[int, _Held]) -> list[tuple[Run, str]]:
    """The runs that are compared in pairs with none, and why."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    unknown: list[tuple[Run, str]] = []
    for run in (run for setting in comparison.settings for run in setting.runs):
        own = held[id(run)]
        if own.values:
            groups.setdefault((own.noise, own.number, own.conditions), []).append(run)
        else:
            unknown.append((run, UNKNOWN))
    most = held[id(max(groups.values(), key=len)[0])]
    found: list[tuple[Run, str]] = []
    for runs in groups.values():
        for run in runs:
            if len(runs) == 1:
                found.append((run, held[id(run)].unlike(most)))
            elif not any(_is_alike(run, other, held) for other in runs if other is not run):
                found.append((run, OTHERWISE))
    return [*found, *unknown]


def _is_alike(run: Run, other: Run, held: Mapping[int, _Held]) -> bool:
    """Whether some metric of both is a mean over samples that was measured in one way."""
    own, values = held[id(run)].values, held[id(other)].values
    return any(name in values and _way(run, name) == _way(other, name) for name in own)


def _without(runs: Sequence[Run]) -> str:
    """Why no run has values per sample, and what to do."""
    places = [path for run in runs if (path := per_sample_of(run))]
    if not places:
        why = "task=evaluate keeps none; samples of a study have them"
    elif any(path.parent.is_dir() for path in places):
        why = (
            "no metric here has a value for each sample, or they were measured before such values were kept;"
            " add class_accuracy (metrics=judged) to the same command, or runtime.stale=remake"
        )
    else:
        why = "the measurements are no longer in the cache; the same command makes them again"
    return f"No run here has values per sample, so none is compared sample by sample: {why}."
