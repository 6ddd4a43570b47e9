"""Moments of real pictures in the cache: features of a whole data set are computed once."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch

from condiff.errors import ConfigError
from condiff.evaluation.measurement import Measurement
from condiff.evaluation.statistics import Statistics, read_statistics, stored_moments, write_statistics
from condiff.files import digest, written_whole
from condiff.stages.fingerprint import fingerprint

_READERS = ("condiff.data.dataset", "condiff.data.picture_sets", "condiff.evaluation.frechet")


def recall(metrics: Mapping[str, Measurement], pictures: str, folder: Path | None) -> None:
    """Give each metric the moments it wants, where an earlier run has left them in ``folder``.

    pictures: a key or hash that covers what the pictures are and how they are cropped and resized.
    """
    found: dict[Path, Statistics] = {}
    for metric, file, extractor in _wanted(metrics, pictures, folder):
        try:
            if file not in found:
                found[file] = read_statistics(file, extractor)
            metric.take_real(found[file])
        except ValueError:  # a missing or damaged file only costs time
            file.unlink(missing_ok=True)


def keep(metrics: Mapping[str, Measurement], pictures: str, folder: Path | None) -> None:
    """Leave the moments of what the metrics have seen for the next run."""
    for metric, file, extractor in _wanted(metrics, pictures, folder):
        if file.is_file():  # of another metric in the same features
            continue
        with suppress(ValueError):  # of too few pictures there are none; the metric itself tells
            statistics = metric.real_statistics()
            file.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(file) as temporary:
                write_statistics(temporary, statistics, extractor.name)


def find(file: str, path: str) -> None:
    """ConfigError where the file that a metric is given has no moments."""
    try:
        stored_moments(Path(file).expanduser())
    except ValueError as error:
        raise ConfigError(f"{path}.statistics: {error}") from error


def _wanted(
    metrics: Mapping[str, Measurement], pictures: str, folder: Path | None
) -> Iterator[tuple[Measurement, Path, Any]]:
    """The metrics that need no more than moments, and the file that theirs are in.

    Its name covers the pictures, the weights and resize of the extractor, and the code of all of it.
    """
    if folder is None:
        return
    for metric in metrics.values():
        wanted = metric.wanted_real()
        if wanted is not None:
            side, extractor = wanted[0], cast(Any, wanted[1])  # one that the stage metrics has built
            code = fingerprint(*extractor.code, *_READERS)
            name = digest([pictures, side, extractor.name, code, torch.__version__])[:16]
            yield metric, folder / f"{name}.npz", extractor
