"""``results.csv`` of a comparison."""

import csv
import io
from collections.abc import Mapping
from typing import Any

from condiff.reports.comparison import Comparison, measured_key
from condiff.reports.comparison_axes import Contrast, contrasts
from condiff.reports.over_seeds import OverSeeds
from condiff.reports.redact import redact
from condiff.reports.runs import SEED, Run

_OWN = ("less_run", "difference", "difference_low", "difference_high", "discordant")
_OVER = (
    "difference", "samples_low", "samples_high", "trainings", "trainings_low", "trainings_high", "verdict",
)  # fmt: skip


def results(comparison: Comparison) -> str:
    """A line a run and metric: the settings that differ, the number, its difference from the reference.

    Of this run alone, then the mean over seeds; last that from another choice, all else the same.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    last = ["metric", "value", "low", "high", "n", "protocol", "run", "metrics_key"]
    compared = {axis: own for axis, own in _by_axis(comparison).items() if own}
    over = [f"mean_{name}" if name == "difference" else name for name in _OVER]
    beside = [f"{axis}_{name}" for axis in compared for name in ("less", *_OVER)]
    writer.writerow([*comparison.table, SEED, *last, "pairing", *_OWN, *over, *beside])
    alone = {id(run): why for run, why in comparison.pairs.alone}
    for position, run in enumerate(comparison.runs):
        values = [redact({path: column[position]})[path] for path, column in comparison.table.items()]
        place = comparison.place_of(run)
        for name, metric in run.metrics.items():
            low, high = metric["interval"] or ("", "")
            row = [name, metric["value"], low, high, metric["n"], metric["protocol"], run.folder]
            found = _found(comparison, place, name)
            pairing = _pairing(comparison, alone.get(id(run), ""), place, name)
            less = [pairing, *_own(found, run), *_over(comparison, found, name)]
            for own in compared.values():
                contrast, base = own.get(place, (None, place))
                between = comparison.pairs.found.get((place, base), {}).get(name)
                less += [contrast.less if contrast and between else "", *_over(comparison, between, name)]
            writer.writerow([*values, run.config.get(SEED), *row, measured_key(run), *less])
    return text.getvalue()


def _found(comparison: Comparison, place: int, metric: str) -> OverSeeds | None:
    """A setting less the reference by default."""
    reference = next(iter(comparison.pairs.references), None)
    return None if reference is None else comparison.pairs.found.get((place, reference), {}).get(metric)


def _pairing(comparison: Comparison, why_alone: str, place: int, metric: str) -> str:
    """What the difference of a setting is a mean of, or why there is none."""
    if metric not in comparison.metrics:
        return ""
    found = _found(comparison, place, metric)
    if found is not None:
        return "by sample" if found.is_paired else "by seed"
    none = not comparison.pairs.references
    if not none and place == comparison.pairs.references[0]:
        return "reference"
    return comparison.pairs.without or why_alone or ("" if none else "no samples of the reference")


def _own(found: OverSeeds | None, run: Run) -> list[Any]:
    """What the seed of this run alone says."""
    pair = next((pair for pair in found.pairs if pair.run is run), None) if found else None
    if pair is None:
        return [""] * len(_OWN)
    own = pair.found
    ends = [own.low, own.high, own.discordant] if own else ["", "", ""]
    return [pair.reference.folder, pair.value, *ends]


def _over(comparison: Comparison, found: OverSeeds | None, metric: str) -> list[Any]:
    if found is None:
        return [""] * len(_OVER)
    samples, trainings = found.samples or ("", ""), found.trainings or ("", "")
    verdict = found.verdict(comparison.directions.get(metric))
    return [found.value, *samples, found.num_trainings, *trainings, verdict]


def _by_axis(comparison: Comparison) -> Mapping[str, dict[int, tuple[Contrast, int]]]:
    """Of each axis of choices, by the place of a setting, what it is less of."""
    found: dict[str, dict[int, tuple[Contrast, int]]] = {}
    for contrast in contrasts(comparison):
        own = found.setdefault(contrast.axis, {})
        own |= {place: (contrast, less) for place, less in contrast.at.values()}
    return found
