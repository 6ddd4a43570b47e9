"""Measure pictures that are there already against others: of two folders, or of whatever program."""

import logging
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from condiff.data.picture_sets import PictureSet, open_pictures
from condiff.data.pictures import square
from condiff.data.sides import OF_CLASS
from condiff.errors import ConfigError, DataError
from condiff.evaluation.measurement import Measurement
from condiff.evaluation.statistics import write_statistics
from condiff.files import write_json, written_whole
from condiff.reports.grid import grid
from condiff.stages.device import device
from condiff.stages.metrics import entries_of, metrics_of, take_in, told_of
from condiff.stages.reference import Reference, class_names, reference_of, shown
from condiff.stages.stage import Artifact, Config, Runtime

log = logging.getLogger(__name__)
_LABELS = "labels that are classes of the data"
SHOWN, COLUMNS = 40, 10  # pictures of each set in the report
SIDE = 64  # pixels that they are fitted to there
DESCRIBED = "captions of the reference (reference=data where data has them)"


@torch.inference_mode()
def measure(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """``metrics.json``, and a look at both sets; what needs what is not there is left out and told."""
    images, classes = open_pictures(cfg["images"], "images"), class_names(inputs)
    against = reference_of(cfg["reference"], inputs, runtime)
    metrics = metrics_of(cfg["metrics"], inputs, device(runtime))
    beside = images.beside()
    if "targets" not in beside and any("targets" in metric.sides for metric in metrics.values()):
        beside |= _paired(images, against.pictures)
    told = {name: _told(metric, {"samples": images, **beside}, against) for name, metric in metrics.items()}
    against.give(metrics)
    captions = images.captions() if any(metric.needs_text for metric in metrics.values()) else None
    there = {"samples", *against.sides, *beside, *(["captions"] if captions else [])}
    there |= {DESCRIBED} if against.has_captions else set()
    metrics = _served(metrics, there, images, classes, cfg["reference"])
    against.show(metrics)
    for name, metric in metrics.items():
        if metric.needs_text and captions is not None:  # without any it was not served
            with told_of(name):
                metric.tell(captions, images.unseen)
    for side, pictures in {"samples": images, **beside}.items():
        take_in(metrics, {side: partial(shown, pictures, classes, device(runtime))})
    entries = {
        name: {**entry, "protocol": f"{entry['protocol']}{told[metric]}"}
        for metric, found in _computed(metrics).items()
        for name, entry in found.items()
    }
    write_json(out / "metrics.json", entries)
    for name, pictures in (("images", images), ("reference", against)):
        _look(pictures.some(SHOWN), out / f"{name}.png")


@torch.inference_mode()
def moments(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """``NAME.npz``, the statistics of the reference, for each of the features that a metric compares."""
    against = reference_of(cfg["reference"], inputs, runtime)
    metrics = metrics_of(cfg["metrics"], inputs, device(runtime))
    wanted = {}
    for name, metric in metrics.items():
        want = metric.wanted_real()
        if want is not None and want[0] == "train" and want[1].name not in wanted:
            wanted[want[1].name] = name
    if not wanted:
        raise ConfigError(
            "metrics: none of them is a distance to statistics that are yet to be made;"
            " use metrics=fid, without metrics.NAME.statistics"
        )
    chosen = {name: metrics[name] for name in wanted.values()}
    against.give(chosen)
    against.show(chosen)
    for features, name in wanted.items():
        with told_of(name), written_whole(out / f"{name}.npz") as temporary:
            write_statistics(temporary, chosen[name].real_statistics(), features)


def _computed(metrics: Mapping[str, Measurement]) -> dict[str, dict[str, Any]]:
    """The entries of each metric; one that asks for more pictures than there are is left out and told."""
    found, refused = {}, []
    for name, metric in metrics.items():
        try:
            found[name] = entries_of({name: metric})
        except DataError as error:
            refused += error.lines
    if not found:
        raise DataError(*refused)
    for line in refused:
        log.warning("left out: %s", line)
    return found


def _told(metric: Measurement, there: Mapping[str, PictureSet], against: Reference) -> str:
    """Which pictures the sets of a metric are."""
    sets = {side: f"{pictures.count:,} of {pictures.where}" for side, pictures in there.items()}
    sets["train"] = against.told()
    return "".join(f"; {side}: {sets[side]}" for side in metric.sides if side in sets)


def _paired(images: PictureSet, reference: PictureSet | None) -> dict[str, PictureSet]:
    """The reference as targets, if each picture has one of its name there; DataError where only some have."""
    if reference is None or images.names is None or reference.names is None:
        return {}
    names = Counter(images.names), Counter(reference.names)
    alone = sorted([*(names[0] - names[1]).elements(), *(names[1] - names[0]).elements()])
    if alone and names[0] & names[1]:
        has = images if names[0][alone[0]] > names[1][alone[0]] else reference
        raise DataError(
            f"reference: pictures are paired by name, and {alone[0]} is in {has.where} only"
            f" ({len(alone)} such); each needs one of its name in the other folder"
        )
    return {} if alone else {"targets": reference}


def _served(
    metrics: Mapping[str, Measurement],
    there: set[str],
    images: PictureSet,
    classes: list[str],
    reference: str,
) -> dict[str, Measurement]:
    """The metrics for which all is there; ConfigError if that is none of them."""
    labelled = images.labelled(classes)
    uniform = not any(metric.one_size for metric in metrics.values()) or images.uniform()
    lacking = {
        name: [f"{side} pictures{_HINTS.get(side, '')}" for side in sorted({*metric.sides} - there)]
        + (
            ["captions (metadata.jsonl beside the pictures, or a run of a study of text)"]
            if metric.needs_text and "captions" not in there
            else []
        )
        + ([DESCRIBED] if metric.needs_captions and DESCRIBED not in there else [])
        + ([_LABELS if classes else "labels and data=..."] if metric.needs_label and not labelled else [])
        + (["pictures of one size"] if metric.one_size and not uniform else [])
        for name, metric in metrics.items()
    }
    why = "; ".join(f"metrics.{name} needs {' and '.join(what)}" for name, what in lacking.items() if what)
    served = {name: metric for name, metric in metrics.items() if not lacking[name]}
    if not served:
        raise ConfigError(f"metrics: reference={reference} serves none of them; {why}")
    if why:
        log.warning("left out: %s", why)
    return served


_HINTS = {
    "held_out": " (reference=data has them)",
    "targets": " (two folders whose pictures have the same names)",
    "sources": " (a study of edits has them)",
    "controls": " (a study with a ControlNet has hints)",
    **dict.fromkeys(OF_CLASS, " (a run of a subject with class_text has them)"),
}


def _look(pictures: list[np.ndarray], path: Path) -> None:
    """A grid of pictures, cropped to squares and resized; nothing where there are none."""
    frame = square(SIDE, 3)
    small = [frame.fit(_image(picture)) for picture in pictures]
    if small:
        with written_whole(path) as temporary:
            grid(np.stack(small), min(COLUMNS, len(small))).save(temporary, format="PNG")


def _image(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
