"""Compared runs in pairs: values per sample of those that share their samples, read from their artifacts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from condiff.reports.comparison import Comparison, Pairs, protocol_of
from condiff.reports.paired import Difference, difference
from condiff.reports.runs import SEED, Run
from condiff.stages.run_folders import per_sample_of
from condiff.stages.stage import ASKED

OTHERWISE = "measured in another way"
UNKNOWN = "no values per sample in the cache"


def pairs_of(comparison: Comparison) -> tuple[list[Pairs], list[tuple[Run, str]]]:
    """Runs that share their samples, each less the first of them; and those that share none, and why.

    Nothing at all where no run has values per sample.
    """
    groups: dict[_Samples, list[Run]] = {}
    unknown: list[tuple[Run, str]] = []
    for run in (run for setting in comparison.settings for run in setting.runs):
        samples = _samples(run)
        if samples is None:
            unknown.append((run, UNKNOWN))
        else:
            groups.setdefault(samples, []).append(run)
    if not groups:
        return [], []
    several = {samples: own for samples, own in groups.items() if len(own) > 1}
    most = max(several or groups, key=lambda samples: len(groups[samples]))
    alone = [(run, samples.unlike(most)) for samples, own in groups.items() if len(own) == 1 for run in own]
    pairs = [_pairs(own, samples.number) for samples, own in several.items()]
    otherwise = [(run, OTHERWISE) for one in pairs for run, found in one.rows if not found]
    pairs = [replace(one, rows=[row for row in one.rows if row[1]]) for one in pairs]
    return [one for one in pairs if one.rows], [*alone, *otherwise, *unknown]


@dataclass(frozen=True)
class _Samples:
    """What samples depend on beside the setting: two runs in which it agrees differ in the setting alone."""

    seed: Any
    data: str
    autoencoder: str
    number: int
    conditions: str

    def unlike(self, other: "_Samples") -> str:
        """In what they are other than most; nothing shared with any where these are most."""
        told = [words for name, words in _OTHER.items() if getattr(self, name) != getattr(other, name)]
        return " and ".join(told) or "no other like it"


_OTHER = {
    "seed": "another seed",
    "data": "other data",
    "autoencoder": "another autoencoder",
    "number": "another number of samples",
    "conditions": "other conditions",
}


def _samples(run: Run) -> _Samples | None:
    """None where its values per sample are not there."""
    path = per_sample_of(run)
    if path is None:
        return None
    data, autoencoder = (str((run.stages.get(stage) or {}).get("key")) for stage in ("data", "autoencoder"))
    try:
        with safe_open(path, framework="numpy") as file:
            counts = {file.get_slice(name).get_shape()[0] for name in file.keys()}  # noqa: SIM118, no mapping
            asked = (file.metadata() or {}).get(ASKED, "")
    except (OSError, SafetensorError):
        return None
    return (
        _Samples(run.config.get(SEED), data, autoencoder, counts.pop(), asked) if len(counts) == 1 else None
    )


def _pairs(runs: Sequence[Run], n: int) -> Pairs:
    reference, *others = runs
    values = _values(reference)
    return Pairs(reference, n, [(run, _less(run, reference, values)) for run in others])


def _less(run: Run, reference: Run, values: Mapping[str, np.ndarray]) -> dict[str, Difference]:
    """Of each metric that both runs were measured by in one way."""
    found = {
        name: difference(own, values[name])
        for name, own in _values(run).items()
        if name in values and _way(run, name) == _way(reference, name)
    }
    return {name: one for name, one in found.items() if one is not None}


def _values(run: Run) -> dict[str, np.ndarray]:
    path = per_sample_of(run)
    assert path is not None
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, a file is no mapping


def _way(run: Run, metric: str) -> str | None:
    entry = run.metrics.get(metric)
    return None if entry is None else protocol_of(str(entry["protocol"]))
