"""What the page of a run says in sentences; no torch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from condiff.data.source import DataInfo
from condiff.files import read_json
from condiff.reports.checked import CHECKED, check_told
from condiff.reports.curves import Point, series_of
from condiff.stages.obedience import obeyed
from condiff.stages.stage import Artifact

_DROPPED = "dropped_"  # begins the names of the shares of samples that were not told a part of a condition


def notes(rows: Sequence[Mapping[str, Any]], done: Mapping[str, Artifact]) -> list[str]:
    """Of what was logged and what the stages left."""
    return [*of_obedience(rows), *_dropped(rows), *_found(done)]


def of_obedience(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """From which step of its training on an adapter has obeyed its hints, which its loss does not show.

    It was watched as a whole, whatever is drawn of it here, with the guidance of the study that trained it.
    """
    lines = obeyed([row for row in rows if row["stage"] == "adapter"])
    return [f"While the adapter trained, at scale 1: {line}." for line in lines]


def _dropped(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How often each part of a condition was not told in a training, as it was measured there."""
    for stage in dict.fromkeys(row["stage"] for row in rows):
        own = [row for row in rows if row["stage"] == stage]
        names = dict.fromkeys(name for row in own for name in row if name.startswith(_DROPPED))
        shares = {name.removeprefix(_DROPPED): series_of(own, name).points for name in names}
        told = ", ".join(f"{name} of {_mean(points):.1%}" for name, points in shares.items() if points)
        if told:
            yield f"Dropped while {stage} was trained, measured: {told} of the samples."


def _mean(points: Sequence[Point]) -> float:
    """Over all steps, of means over the steps since the last row."""
    before, total = 0.0, 0.0
    for step, mean in points:
        total, before = total + mean * (step - before), step
    return total / before


def _found(done: Mapping[str, Artifact]) -> list[str]:
    told = check_told(read_json(done["check"].path / CHECKED)) if "check" in done else []
    if "judge" in done:
        found = read_json(done["judge"].path / "judge.json")
        told.append(
            f"The judge puts {found['held_out_accuracy']:.1%} of {found['n']} held-out pictures into the "
            "right class; it was trained on the training pictures only and guides nothing."
        )
    if "data" in done:
        info = DataInfo.read(done["data"].path)
        told.append(
            f"Data: {info.num_train} training and {info.num_held_out} held-out pictures, {info.source}."
        )
    return told
