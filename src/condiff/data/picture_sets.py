"""Pictures that are there already, of whatever program: a folder, an .npz of samples, or a finished run."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from condiff.data.captions import TEXT, captions_of
from condiff.data.image_folder import folder_captions
from condiff.data.memo import in_order
from condiff.data.npz_members import Images, Labels
from condiff.data.pictures import EXTENSIONS, Unreadable, decode, looks_like
from condiff.data.sides import SIDES
from condiff.data.source import DataInfo
from condiff.errors import ArtifactError, DataError
from condiff.files import read_json

_WAITING = 2**28  # bytes of pictures that wait for others of their size
_PIXELS = 2**25  # of a batch: 384 MiB of three channels once they are floats
Pictures = tuple[Tensor, Sequence[str | None] | Tensor]  # [B, C, H, W] uint8, and class names or labels [B]


class PictureSet(ABC):
    """Pictures of any sizes, told apart by nothing but, where they have one, their class."""

    count: int
    where: str  # for a report
    names: list[str] | None = None  # of the pictures, without extension and in order, where they have any
    unseen: Sequence[str] = ()  # what their captions may be about and no training picture shows, where known

    def uniform(self) -> bool:
        """Whether all have one size and number of channels, as far as can be told without decoding them."""
        return True

    def labelled(self, classes: Sequence[str]) -> bool:
        """Whether every picture has one of these classes."""
        return False

    def classes(self) -> list[str]:
        """Of its own, where every picture has one."""
        return []

    def captions(self) -> list[str] | None:
        """Of the pictures in their order, where every one has one."""
        return None

    def beside(self) -> "dict[str, PictureSet]":
        """Other sets that go with it, ``SIDES`` but the samples; the first three picture by picture."""
        return {}

    @abstractmethod
    def batches(self, most: int) -> Iterator[Pictures]:
        """Every picture once, at most so many of one size and mode at a time."""

    @abstractmethod
    def some(self, count: int) -> list[np.ndarray]:
        """A few of them, [H, W, C] uint8, to be looked at."""


def open_pictures(path: str, key: str) -> PictureSet:
    """The set at a path; DataError under a config ``key`` where there is none."""
    place = Path(path).expanduser()
    try:
        if (place / "stages.json").is_file():
            return _of_run(place)
        if (place / "sweep.json").is_file():
            raise DataError(f"{place} is the folder of a sweep; give one of its runs, such as {place / '0'}")
        if (place / "overrides.json").is_file():
            raise DataError(f"{place} is a run that did not finish")
        if place.is_dir():
            return Folder(place)
        if place.suffix == ".npz" and place.is_file():
            return Npz(place)
        if place.is_file():
            raise DataError(f"{place} is neither a folder nor an .npz")
        raise DataError(f"{place} does not exist")
    except DataError as error:
        allowed = "give a folder of pictures, an .npz with arr_0, or the folder of a finished run"
        raise DataError(*(f"{key}: {line}; {allowed}" for line in error.lines)) from error


class Folder(PictureSet):
    """Every png, jpg, jpeg and webp in a folder and below; the first folder on the way is a class."""

    def __init__(self, root: Path) -> None:
        self.root, self.where = root, str(root)
        found = (path for path in root.rglob("*") if path.suffix[1:].lower() in EXTENSIONS)
        plain = (
            path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts)
        )
        named = sorted((path.relative_to(root).with_suffix("").as_posix(), path) for path in plain)
        self.names, self.files = [name for name, _ in named], [path for _, path in named]
        self.count = len(self.files)
        if not self.files:
            raise DataError(f"{root} holds no picture")

    def labelled(self, classes: Sequence[str]) -> bool:
        return {*map(self._class, self.files)} <= {*classes}

    def classes(self) -> list[str]:
        return sorted({name for path in self.files if (name := self._class(path)) is not None})

    def batches(self, most: int) -> Iterator[Pictures]:
        waiting: dict[tuple[int, ...], list[tuple[np.ndarray, str | None]]] = {}
        held = 0
        for path, image in zip(self.files, in_order(_decoded, self.files), strict=True):
            alike = waiting.setdefault(image.shape, [])
            alike.append((image, self._class(path)))
            held += image.size
            is_full = len(alike) == _at_once(most, image.shape)
            if is_full or held > _WAITING:
                batch = waiting.pop(image.shape if is_full else next(iter(waiting)))  # or the longest waiting
                held -= len(batch) * batch[0][0].size
                yield _stacked(batch)
        yield from map(_stacked, waiting.values())

    def uniform(self) -> bool:
        return len({looks_like(path) for path in self.files}) == 1

    def captions(self) -> list[str] | None:
        """Those of metadata.jsonl, metadata.csv or sidecar .txt files; DataError where they have mistakes."""
        texts = folder_captions(self.root)
        return (
            None if texts is None else [texts[path.relative_to(self.root).as_posix()] for path in self.files]
        )

    def some(self, count: int) -> list[np.ndarray]:
        places = np.linspace(0, self.count - 1, min(count, self.count)).round().astype(int)
        return [_decoded(self.files[place]) for place in places]

    def _class(self, path: Path) -> str | None:
        parts = path.relative_to(self.root).parts
        return parts[0] if len(parts) > 1 else None


class Npz(PictureSet):
    """``arr_0``, [N, H, W, C] uint8, as ADM's programs leave their samples; read a part at a time.

    Where classes were asked for they are beside them, ``arr_1``, [N] integers: numbers of the data's classes.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.where = path, str(path)
        with Images(path) as member:
            self.shape = member.shape
        self.count = self.shape[0]
        self.label: Tensor | None = None
        if Labels.are_in(path):
            with Labels(path, self.count) as member:
                self.label = torch.from_numpy(member.next(self.count))

    def labelled(self, classes: Sequence[str]) -> bool:
        return self.label is not None and int(self.label.max()) < len(classes)

    def batches(self, most: int) -> Iterator[Pictures]:
        step = _at_once(most, self.shape[1:])
        with Images(self.path) as member:
            for start in range(0, self.count, step):
                part = member.next(min(step, self.count - start))
                label = [None] * len(part) if self.label is None else self.label[start : start + step]
                yield torch.from_numpy(part).movedim(-1, 1), label

    def some(self, count: int) -> list[np.ndarray]:
        with Images(self.path) as member:
            return [*member.next(min(count, self.count))]


class Samples(PictureSet):
    """What a run has drawn, with what it asked for: captions, or classes of its own data."""

    def __init__(self, run: Path, path: Path, data: DataInfo, side: str = "samples") -> None:
        self.run, self.path, self.data, self.which = run, path, data, SIDES[side]
        self.unseen = data.unseen
        self.where = str(run) if side == "samples" else f"{run}, {side}"
        with safe_open(path, "pt") as stored:
            self.count = stored.get_slice(self.which).get_shape()[0]

    def labelled(self, classes: Sequence[str]) -> bool:
        return bool(classes) and self.data.class_names == [*classes]

    def captions(self) -> list[str] | None:
        with safe_open(self.path, "pt") as stored:
            there = TEXT in stored.keys()  # noqa: SIM118
            return captions_of({TEXT: stored.get_tensor(TEXT)} if there else {})

    def beside(self) -> dict[str, PictureSet]:
        with safe_open(self.path, "pt") as stored:
            there = [side for side, which in SIDES.items() if which in stored.keys()]  # noqa: SIM118
        return {side: Samples(self.run, self.path, self.data, side) for side in there if side != "samples"}

    def batches(self, most: int) -> Iterator[Pictures]:
        with safe_open(self.path, "pt") as stored:
            images, labels = stored.get_slice(self.which), stored.get_slice("label")
            step = _at_once(most, images.get_shape()[1:])
            for start in range(0, self.count, step):
                yield images[start : start + step], labels[start : start + step]

    def some(self, count: int) -> list[np.ndarray]:
        with safe_open(self.path, "pt") as stored:
            return [*stored.get_slice(self.which)[:count].movedim(1, -1).numpy()]


def _of_run(folder: Path) -> PictureSet:
    """The samples that a run folder tells of."""
    try:
        stages = read_json(folder / "stages.json")
        data = DataInfo.read(Path(stages["data"]["path"]))
        made = stages["samples"] if "samples" in stages else stages["reconstructions"]
        return Samples(folder, Path(made["path"]) / "samples.safetensors", data)
    except KeyError as error:
        raise DataError(f"{folder} is a run without samples") from error
    except (OSError, ValueError, TypeError, SafetensorError, ArtifactError) as error:
        raise DataError(f"{folder}: its samples are no longer in the cache ({error})") from error


def _decoded(path: Path) -> np.ndarray:
    """[H, W, C] uint8"""
    try:
        image = np.array(decode(path.read_bytes()))
    except (Unreadable, OSError) as error:
        raise DataError(f"{path}: {error}") from error
    return image[..., None] if image.ndim == 2 else image


def _stacked(alike: list[tuple[np.ndarray, str | None]]) -> Pictures:
    images, classes = zip(*alike, strict=True)
    return torch.from_numpy(np.stack(images)).movedim(-1, 1), [*classes]


def _at_once(most: int, shape: tuple[int, ...]) -> int:
    return max(1, min(most, _PIXELS // int(np.prod(shape))))
