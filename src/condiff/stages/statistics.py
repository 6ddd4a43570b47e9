"""Moments of real pictures in the cache: features of a whole data set are computed once."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from condiff.errors import ConfigError
from condiff.evaluation.measurement import Measurement
from condiff.evaluation.statistics import read_statistics, stored_moments, write_statistics
from condiff.files import digest, written_whole


def recall(metrics: Mapping[str, Measurement], data: str, folder: Path | None) -> None:
    """Give each metric the moments it wants, where an earlier run has left them in ``folder``.

    data: the key of the artifact the pictures are of. It covers their content, split, crop and size, and
    the identity of the features their weights and resize.
    """
    for metric, file, extractor in _wanted(metrics, data, folder):
        with suppress(ValueError):  # a missing or damaged file only costs time
            metric.take_real(read_statistics(file, extractor))


def keep(metrics: Mapping[str, Measurement], data: str, folder: Path | None) -> None:
    """Leave the moments of what the metrics have seen for the next run."""
    for metric, file, extractor in _wanted(metrics, data, folder):
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(file) as temporary:
                write_statistics(temporary, metric.real_statistics(), extractor.name)


def find(file: str, path: str) -> None:
    """ConfigError where the file that a metric is given has no moments."""
    try:
        stored_moments(Path(file).expanduser())
    except ValueError as error:
        raise ConfigError(f"{path}.statistics: {error}") from error


def _wanted(
    metrics: Mapping[str, Measurement], data: str, folder: Path | None
) -> Iterator[tuple[Measurement, Path, Any]]:
    for metric in metrics.values() if folder is not None else ():
        wanted = metric.wanted_real()
        if wanted is not None and folder is not None:
            side, extractor = wanted
            identity = [data, side, extractor.name, getattr(extractor, "identity", "")]
            yield metric, folder / f"{digest(identity)[:16]}.npz", extractor
