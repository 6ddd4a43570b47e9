"""Samples of compared runs that came from one noise, read from their artifacts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from condiff.data.source import DataInfo
from condiff.errors import ArtifactError
from condiff.reports.comparison import Comparison, Pictures, evenly
from condiff.reports.runs import SEED, Run

ROWS = 10  # samples of each setting
MOST_COLUMNS = 48  # settings of a page, of all seeds together; a reader chooses among them
MOST_SEEDS = 3
MOST_BYTES = 4_500_000  # of all pixels of a page; larger pictures are made smaller
_BESIDE = {"source": "to change", "target": "true answer"}


def pictures_of(comparison: Comparison) -> tuple[list[Pictures], list[str]]:
    """The first samples of each setting, seed by seed, and a line for what is not there or not shown."""
    groups: dict[tuple[Any, ...], dict[int, Path]] = {}
    gone, notes = 0, []
    for run in comparison.runs:
        file = _file(run)
        shape = None if file is None else _shape(file)
        if file is None or shape is None:
            gone += file is not None
            continue
        own = groups.setdefault((_noise(run), shape), {})
        own.setdefault(comparison.place_of(run), file)
    if gone:
        notes.append(
            f"The samples of {gone} of {len(comparison.runs)} runs are no longer in the cache, so they are"
            " not among the pictures; the same command makes them again."
        )
    several = sorted((group for group in groups.items() if len(group[1]) > 1), key=lambda g: str(g[0]))
    shown = several[:MOST_SEEDS]
    if len(shown) < len(several):
        notes.append(f"Pictures of {len(shown)} noises out of {len(several)} are shown, the first seeds.")
    budget = MOST_BYTES // max(1, len(shown))
    most = max(2, MOST_COLUMNS // max(1, len(shown)))
    found = [_read(key[0][0], files, comparison, most, budget) for key, files in shown]
    widest = max((len(files) for _, files in shown), default=0)
    if widest > most:
        notes.append(f"Pictures of {most} settings out of {widest} are in the page, evenly chosen.")
    return found, notes


def _noise(run: Run) -> tuple[Any, ...]:
    """What the noise of sample i depends on, and which data and latent space it belongs to."""
    keys = [str((run.stages.get(stage) or {}).get("key")) for stage in ("data", "autoencoder")]
    return (run.config.get(SEED), *keys)


def _file(run: Run) -> Path | None:
    stage = run.stages.get("samples")
    return Path(str(stage["path"])) / "samples.safetensors" if stage else None


def _shape(path: Path) -> tuple[int, ...] | None:
    """Of one picture; None where the samples are not there."""
    try:
        with safe_open(path, framework="numpy") as file:
            return tuple(file.get_slice("image").get_shape()[1:])
    except (OSError, SafetensorError):
        return None


def _read(seed: Any, files: Mapping[int, Path], comparison: Comparison, most: int, budget: int) -> Pictures:
    places = sorted(files)
    places = [places[k] for k in evenly(len(places), most)]
    labels = {place: _labels(files[place]) for place in places}
    shortest = min(map(len, labels.values()))
    first = labels[places[0]][:shortest]
    alike = [place for place in places if np.array_equal(labels[place][:shortest], first)]
    rows = _chosen(first)
    taken = {place: _pictures(files[place], rows) for place in alike}
    beside = {text: _only(files[alike[0]], name, rows) for name, text in _BESIDE.items()}
    before = {text: images for text, images in beside.items() if images is not None}
    step = _step([*taken.values(), *before.values()], budget)
    return Pictures(
        seed,
        _names(comparison, files[alike[0]], first[rows]),
        {place: smaller(images, step) for place, images in taken.items()},
        {text: smaller(images, step) for text, images in before.items()},
    )


def _labels(path: Path) -> np.ndarray:
    with safe_open(path, framework="numpy") as file:
        return file.get_tensor("label")


def _chosen(labels: np.ndarray) -> list[int]:
    """The first sample of each class, then others as they come."""
    _, firsts = np.unique(labels, return_index=True)
    order = [*sorted(firsts.tolist())[:ROWS], *range(len(labels))]
    return sorted(dict.fromkeys(order).keys(), key=order.index)[:ROWS]


def _pictures(path: Path, rows: Sequence[int]) -> np.ndarray:
    images = _only(path, "image", rows)
    assert images is not None
    return images


def _only(path: Path, name: str, rows: Sequence[int]) -> np.ndarray | None:
    """Some pictures of a file, [N, H, W] or [N, H, W, 3]; None where it has none of that name."""
    with safe_open(path, framework="numpy") as file:
        if name not in file.keys():  # noqa: SIM118, a file is no mapping
            return None
        held = file.get_slice(name)
        images = np.stack([held[row] for row in rows])
    return images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1)


def _step(images: Sequence[np.ndarray], budget: int) -> int:
    """By how much pictures are made smaller in each direction."""
    size, step = sum(part.nbytes for part in images), 1
    while size / step**2 > budget:
        step += 1
    return step


def smaller(images: np.ndarray, step: int) -> np.ndarray:
    """Every square of step x step pixels as its mean."""
    if step == 1:
        return images
    num, height, width = images.shape[0], images.shape[1] // step, images.shape[2] // step
    cut = images[:, : height * step, : width * step].astype(np.float32)
    blocks = cut.reshape(num, height, step, width, step, *images.shape[3:])
    return np.rint(blocks.mean((2, 4))).astype(np.uint8)


def _names(comparison: Comparison, file: Path, labels: np.ndarray) -> list[str]:
    """What the samples were to show, in words where the data has them."""
    run = next(run for run in comparison.runs if _file(run) == file)
    data = run.stages.get("data")
    try:
        names = DataInfo.read(Path(str(data["path"]))).class_names if data else []
    except ArtifactError:
        names = []
    return [names[k] if k < len(names) else str(k) for k in labels.tolist()]
