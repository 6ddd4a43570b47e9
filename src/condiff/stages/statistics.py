"""Moments of real pictures in the cache: features of a whole data set are computed once."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch

from condiff.callbacks.ranks import Alone, Ranks
from condiff.errors import ConfigError
from condiff.evaluation.measurement import Measurement
from condiff.evaluation.statistics import Statistics, read_statistics, stored_moments, write_statistics
from condiff.files import digest, written_whole
from condiff.stages.fingerprint import fingerprint

_READERS = ("condiff.data.dataset", "condiff.data.picture_sets", "condiff.evaluation.frechet")


def recall(
    metrics: Mapping[str, Measurement], pictures: str, folder: Path | None, ranks: Ranks | None = None
) -> None:
    """Give each metric the moments it wants, where an earlier run has left them in ``folder``.

    pictures: a key or hash that covers what the pictures are and how they are cropped and resized.
    ranks: each takes those that the leading one finds.
    """
    found = (ranks or Alone()).first(lambda: _left(metrics, pictures, folder))
    for name, statistics in found.items():
        metrics[name].take_real(statistics)


def keep(
    metrics: Mapping[str, Measurement], pictures: str, folder: Path | None, ranks: Ranks | None = None
) -> None:
    """Leave the moments of what the metrics have seen, by all ``ranks`` together, for the next run."""
    ranks = ranks or Alone()
    wanted = {file: (name, extractor) for name, file, extractor in _wanted(metrics, pictures, folder)}
    for file in ranks.first(lambda: [path for path in wanted if not path.is_file()]):
        name, extractor = wanted[file]
        metric = metrics[name]
        with metric.sync_context():
            if ranks.leads:
                _write(metric, file, extractor.name)


def find(file: str, path: str) -> None:
    """ConfigError where the file that a metric is given has no moments."""
    try:
        stored_moments(Path(file).expanduser())
    except ValueError as error:
        raise ConfigError(f"{path}.statistics: {error}") from error


def _left(metrics: Mapping[str, Measurement], pictures: str, folder: Path | None) -> dict[str, Statistics]:
    """What there is for the metrics, by their names."""
    files: dict[Path, Statistics] = {}
    found = {}
    for name, file, extractor in _wanted(metrics, pictures, folder):
        try:
            if file not in files:
                files[file] = read_statistics(file, extractor)
            found[name] = files[file]
        except ValueError:  # a missing or damaged file only costs time
            file.unlink(missing_ok=True)
    return found


def _write(metric: Measurement, file: Path, features: str) -> None:
    with suppress(ValueError):  # of too few pictures there are none; the metric itself tells
        statistics = metric.real_statistics()
        file.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(file) as temporary:
            write_statistics(temporary, statistics, features)


def _wanted(
    metrics: Mapping[str, Measurement], pictures: str, folder: Path | None
) -> Iterator[tuple[str, Path, Any]]:
    """The names of the metrics that need no more than moments, and the file that theirs are in.

    Its name covers the pictures, the weights and resize of the extractor, and the code of all of it.
    """
    if folder is None:
        return
    for metric_name, metric in metrics.items():
        wanted = metric.wanted_real()
        if wanted is not None:
            side, extractor = wanted[0], cast(Any, wanted[1])  # one that the stage metrics has built
            code = fingerprint(*extractor.code, *_READERS)
            name = digest([pictures, side, extractor.name, code, torch.__version__])[:16]
            yield metric_name, folder / f"{name}.npz", extractor
