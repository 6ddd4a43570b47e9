"""Samples of compared runs that came from one noise, read from their artifacts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from condiff.data.captions import TEXT, captions_of
from condiff.data.source import DataInfo
from condiff.errors import ArtifactError
from condiff.reports.captioned import EMPTY
from condiff.reports.comparison import Comparison, Pictures, evenly
from condiff.reports.runs import SEED, Run
from condiff.stages.run_folders import samples_of

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
        file = samples_of(run)
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
    widest = max((len(files) for _, files in several), default=0)
    shown = several[: max(1, min(MOST_SEEDS, MOST_COLUMNS // max(1, widest)))]
    if len(shown) < len(several):
        notes.append(f"Pictures of {len(shown)} of {len(several)} noises are in the page, the first seeds.")
    if widest > MOST_COLUMNS:
        notes.append(
            f"Pictures of {MOST_COLUMNS} of {widest} settings are in the page: the best, and others evenly."
        )
    picked = [_Picked.of(key[0][0], files, comparison) for key, files in shown]
    step = _step([images for one in picked for images in one.all()])
    if step > 1:
        notes.append(f"Pictures are shown at 1/{step} of their size in each direction: the page stays small.")
    return [one.smaller(step) for one in picked], notes


def _noise(run: Run) -> tuple[Any, ...]:
    """What the noise of sample i depends on, and which data and latent space it belongs to.

    Reconstructions have none: whatever the autoencoder, they are of the same pictures.
    """
    if "reconstructions" in run.stages:
        return (None, str(run.stages["data"]["key"]))
    keys = [str((run.stages.get(stage) or {}).get("key")) for stage in ("data", "autoencoder")]
    return (run.config.get(SEED), *keys)


def _shape(path: Path) -> tuple[int, ...] | None:
    """Of one picture; None where the samples are not there."""
    try:
        with safe_open(path, framework="numpy") as file:
            return tuple(file.get_slice("image").get_shape()[1:])
    except (OSError, SafetensorError):
        return None


@dataclass(frozen=True)
class _Picked:
    """What is taken of one noise, at its full size."""

    seed: Any
    rows: Sequence[str]
    columns: Mapping[int, np.ndarray]
    beside: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, seed: Any, files: Mapping[int, Path], comparison: Comparison) -> "_Picked":
        """Some settings, and of those the ones that were asked for the same."""
        asked = {place: _asked(files[place]) for place in _some(sorted(files), comparison)}
        shortest = min(len(labels) for labels, _ in asked.values())
        first, texts = next(iter(asked.values()))
        alike = [place for place, own in asked.items() if _same(own, (first, texts), shortest)]
        rows, file = _chosen(first[:shortest]), files[alike[0]]
        beside = {text: _only(file, name, rows) for name, text in _BESIDE.items()}
        return cls(
            seed,
            _names(comparison, file, first[rows]) if texts is None else [texts[row] or EMPTY for row in rows],
            {place: _pictures(files[place], rows) for place in alike},
            {text: images for text, images in beside.items() if images is not None},
        )

    def all(self) -> list[np.ndarray]:
        return [*self.columns.values(), *self.beside.values()]

    def smaller(self, step: int) -> Pictures:
        columns = {place: smaller(images, step) for place, images in self.columns.items()}
        beside = {text: smaller(images, step) for text, images in self.beside.items()}
        return Pictures(self.seed, self.rows, columns, beside)


def _some(places: Sequence[int], comparison: Comparison) -> list[int]:
    """At most as many settings as a page has: the best ones, and others evenly."""
    if len(places) <= MOST_COLUMNS:
        return [*places]
    best = {place for one in comparison.best.values() for place in one.places if place in places}
    kept = sorted(best)[: MOST_COLUMNS // 2]
    rest = [place for place in places if place not in kept]
    return sorted([*kept, *(rest[k] for k in evenly(len(rest), MOST_COLUMNS - len(kept)))])


_Asked = tuple[np.ndarray, list[str] | None]  # classes, [N], and texts where there are any


def _asked(path: Path) -> _Asked:
    with safe_open(path, framework="numpy") as file:
        there = {name: file.get_tensor(name) for name in file.keys() if name in ("label", TEXT)}  # noqa: SIM118
    return there["label"], captions_of(there)


def _same(one: _Asked, other: _Asked, count: int) -> bool:
    """Whether the first samples were asked to show the same."""
    texts = [None if own is None else own[:count] for _, own in (one, other)]
    return texts[0] == texts[1] and np.array_equal(one[0][:count], other[0][:count])


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


def _step(images: Sequence[np.ndarray]) -> int:
    """By how much pictures are made smaller in each direction."""
    size, step = sum(part.nbytes for part in images), 1
    while size / step**2 > MOST_BYTES:
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
    run = next(run for run in comparison.runs if samples_of(run) == file)
    data = run.stages.get("data")
    try:
        names = DataInfo.read(Path(str(data["path"]))).class_names if data else []
    except ArtifactError:
        names = []
    return [names[k] if k < len(names) else str(k) for k in labels.tolist()]
