"""What folders and shards of a user's own pictures share: survey, size, split, and every mistake at once."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from condiff.data.buckets import frames, nearest
from condiff.data.held_out import by_share
from condiff.data.memo import in_order, shared
from condiff.data.pictures import Frame, Unreadable, decode, natural_size, square
from condiff.data.source import DataInfo, Example, Source, Split, class_count, label_fault, refuse
from condiff.errors import DataError


@dataclass(frozen=True)
class Wanted:
    """How pictures are fitted and told apart; None is read from the data."""

    size: int | None
    max_size: int
    multiple_of: int
    num_classes: int | None
    held_out: float
    max_pixels: int
    max_bad: float
    mirror: bool = False
    buckets: int | None = None

    def __post_init__(self) -> None:
        if self.size is None and self.max_size < self.multiple_of:
            raise ValueError(f"data.max_size must be at least data.multiple_of={self.multiple_of}")
        if self.buckets is not None and (self.size is None or self.size % self.buckets):
            size = "null" if self.size is None else self.size
            raise ValueError(f"data.size must be a multiple of data.buckets={self.buckets}, got {size}")


@dataclass(frozen=True)
class Picture:
    """One picture of the survey: where it is, what it shows, or what is wrong with it."""

    key: str
    where: str
    label: int | None = None
    text: str | None = None
    height: int = 0
    width: int = 0
    grey: bool = False
    fault: str | None = None
    split: Split | None = None  # where the data say so themselves
    at: tuple[str, int, int] | None = None  # in a tar: that, offset and size
    hint: tuple[str, int, int] | None = None  # of its hint the same
    grey_hint: bool = False

    @property
    def shortest(self) -> int:
        return min(self.height, self.width)


@dataclass(frozen=True)
class Survey:
    pictures: list[Picture]
    class_names: list[str]
    broken: list[str]  # mistakes that no picture can be left out for
    fingerprint: str


class OwnPictures(Source):
    """Pictures of a user's own; ``_survey`` and ``_bytes`` say where they lie."""

    def __init__(self, path: str, wanted: Wanted) -> None:
        self.path, self.wanted = path, wanted
        self._memo = shared(
            f"{type(self).__name__} 4 {wanted.max_pixels} {Path(path).expanduser().absolute()}"
        )

    @abstractmethod
    def _survey(self, memo_dir: Path | None) -> Survey: ...

    @abstractmethod
    def _bytes(self, picture: Picture) -> bytes: ...

    def check(self, memo_dir: Path | None = None) -> None:
        self._sound = _sound(self._survey(memo_dir), self.wanted)

    def fingerprint(self, memo_dir: Path | None = None) -> str:
        survey = self._survey(memo_dir)
        if memo_dir is not None:
            self._memo.save(memo_dir)
        return survey.fingerprint

    def info(self) -> DataInfo:
        sound = self._sound
        num_held_out = len(sound.held_out)
        num_classes = class_count([picture.label for picture in sound.pictures], self.wanted.num_classes)
        names = sound.class_names + [str(index) for index in range(len(sound.class_names), num_classes)]
        return DataInfo(
            num_classes=max(num_classes, len(names)),
            class_names=names,
            channels=sound.square.channels,
            size=sound.square.height,
            num_train=len(sound.pictures) - num_held_out,
            num_held_out=num_held_out,
            has_text=any(picture.text is not None for picture in sound.pictures),
            source=f"{len(sound.pictures):,} pictures of {self.path}",
            left_out=sound.left_out,
            mirror=self.wanted.mirror,
        )

    def examples(self, split: Split) -> Iterator[Example]:
        sound, is_held_out = self._sound, split == "held_out"
        own = [item for item in sound.pictures if (item.key in sound.held_out) == is_held_out]
        chosen = [(sound.square if is_held_out else sound.frame_of(item), item) for item in own]
        chosen.sort(key=lambda pair: (pair[0].height, pair[0].width))  # those of one shape together
        fitted = in_order(lambda pair: self._fitted(*pair), chosen)
        for (_, picture), (image, framing) in zip(chosen, fitted, strict=True):
            yield Example(picture.key, image, picture.label, picture.text, framing=framing)

    def _fitted(self, frame: Frame, picture: Picture) -> tuple[np.ndarray, tuple[int, ...]]:
        image = self._decode(picture)
        return frame.fit(image), frame.framing(image)

    @cached_property
    def _sound(self) -> "Sound":
        return _sound(self._survey(None), self.wanted)

    def _decode(self, picture: Picture) -> Image.Image:
        try:
            return decode(self._bytes(picture), self.wanted.max_pixels)
        except (Unreadable, OSError) as error:
            raise DataError(f"{picture.where}: {error}") from error


@dataclass(frozen=True)
class Sound:
    """A survey without mistakes, and what follows from it."""

    pictures: list[Picture]
    class_names: list[str]
    square: Frame  # of held-out pictures, and of all without buckets
    frames: list[Frame]
    held_out: set[str]
    left_out: list[str]

    def frame_of(self, picture: Picture) -> Frame:
        return nearest(self.frames, picture.height, picture.width)


def _sound(survey: Survey, wanted: Wanted) -> Sound:
    pictures = _same_fields([_in_range(picture, wanted.num_classes) for picture in survey.pictures])
    bad = [f"{picture.where}: {picture.fault}" for picture in pictures if picture.fault]
    good = [picture for picture in pictures if not picture.fault]
    broken = survey.broken + _set_faults(good, wanted)
    refuse(broken + bad if broken or len(bad) > wanted.max_bad * len(pictures) else [])
    if not good:
        raise DataError("data.path: holds no usable picture; at least one png, jpg, jpeg or webp is needed")
    said = {picture.key for picture in good if picture.split == "held_out"}
    free = [picture.key for picture in good if picture.split is None]
    channels = 1 if all(picture.grey for picture in good) else 3
    size = wanted.size or natural_size(
        min(picture.shortest for picture in good), wanted.max_size, wanted.multiple_of
    )
    whole, held_out = square(size, channels), said | by_share(free, wanted.held_out)
    every = frames(size, wanted.buckets, channels) if wanted.buckets else [whole]
    return Sound(good, survey.class_names, whole, every, held_out, bad)


def _in_range(picture: Picture, num_classes: int | None) -> Picture:
    if picture.fault or picture.label is None:
        return picture
    return replace(picture, fault=label_fault(picture.label, num_classes))


def _same_fields(pictures: list[Picture]) -> list[Picture]:
    """Where some have a label, a text or a hint, the others lack one."""
    labelled = any(picture.label is not None for picture in pictures)
    with_text = any(picture.text is not None for picture in pictures)
    with_hint = any(picture.hint is not None for picture in pictures)

    def complete(picture: Picture) -> Picture:
        if picture.fault is None and labelled and picture.label is None:
            return replace(picture, fault="has no label, but others have; label all or none")
        if picture.fault is None and with_text and picture.text is None:
            return replace(picture, fault="has no text, but others have; describe all or none")
        if picture.fault is None and with_hint and picture.hint is None:
            return replace(picture, fault="has no .control.png, but others have; give all a hint or none")
        return picture

    return [complete(picture) for picture in pictures]


def _set_faults(good: list[Picture], wanted: Wanted) -> list[str]:
    lines, first = [], {}
    for picture in good:
        if picture.key in first:
            lines.append(f"{picture.where}: the key is also that of {first[picture.key]}; keys are unique")
        first.setdefault(picture.key, picture.where)
    if good and wanted.num_classes and all(picture.label is None for picture in good):
        lines.append(f"data.num_classes: {wanted.num_classes}, but no picture has a label; leave it null")
    if wanted.size is None:
        lines += [
            f"{picture.where}: its shortest side has {picture.shortest} pixels; "
            f"data.multiple_of={wanted.multiple_of} needs as many, or set data.size"
            for picture in good
            if picture.shortest < wanted.multiple_of
        ]
    return lines
