"""A user's own folder of pictures beside a folder of their hints, in pairs of one name."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from condiff.data.image_folder import ImageFolder
from condiff.data.own_pictures import Picture, Survey
from condiff.data.pictures import EXTENSIONS, MAX_PIXELS, Frame, Unreadable, decode, looks_like
from condiff.data.source import DataInfo, Example, Split
from condiff.errors import DataError
from condiff.files import digest
from condiff.ranges import Count, Probability, checked


class HintedFolder(ImageFolder):
    """The pictures of ``path``, each with the one of ``hints`` that lies under the same name, of its size.

    The name in its folder counts, with all that stands before it and without the extension; both are fitted
    alike. The other arguments are those of ImageFolder.
    """

    hints_are_given: ClassVar[bool] = True  # and what they are of is not known here

    @checked
    def __init__(
        self,
        path: str,
        hints: str,
        size: Count | None = None,
        max_size: Count = 64,
        multiple_of: Count = 8,
        num_classes: Count | None = None,
        held_out: Probability = 0.1,
        max_pixels: Count = MAX_PIXELS,
        max_bad: Probability = 0.0,
        mirror: bool = False,
        caption: str | None = None,
        buckets: Count | None = None,
    ) -> None:
        own = (size, max_size, multiple_of, num_classes, held_out, max_pixels, max_bad, mirror, caption)
        super().__init__(path, *own, buckets=buckets)
        self.hints = Path(hints).expanduser()

    def info(self) -> DataInfo:
        return replace(super().info(), control=self._channels)

    def examples(self, split: Split) -> Iterator[Example]:
        for example in super().examples(split):
            height, width = example.image.shape[:2]
            frame = Frame(height, width, self._channels)
            yield replace(example, control=self._fit(frame, self._places[example.key]))

    def _survey(self, memo_dir: Path | None) -> Survey:
        if not self.hints.is_dir():
            raise DataError(f"data.hints: {self.hints} is no folder; give one of a hint for each picture")
        survey = super()._survey(memo_dir)
        pictures = [self._paired(picture) for picture in survey.pictures]
        places = [place for picture in pictures if (place := self._place(picture)) is not None]
        looks = self._memo.look(places, self._look, "looking at hints", memo_dir)
        contents = [look["sha256"] for look in looks]
        return replace(survey, pictures=pictures, fingerprint=digest([survey.fingerprint, contents]))

    def _paired(self, picture: Picture) -> Picture:
        if picture.fault:
            return picture
        places = self._alike(picture)
        if not places:
            return replace(picture, fault=f"has no hint in {self.hints}; put one there under its name")
        place, *others = places
        if others:
            return replace(picture, fault=f"has the hints {place} and {others[0].name}; keep one of them")
        own, hint = looks_like(Path(picture.where)), looks_like(place)
        if hint is None:
            return replace(picture, fault=f"its hint {place} is no picture; {', '.join(EXTENSIONS)} are read")
        if own is None or own[0] != hint[0]:
            sizes = " and ".join("none" if one is None else "{}x{}".format(*one[0]) for one in (hint, own))
            return replace(picture, fault=f"its hint {place} must have its size, got {sizes}")
        return picture

    def _place(self, picture: Picture) -> Path | None:
        """Where the hint of a picture lies."""
        return next(iter(self._alike(picture)), None)

    def _alike(self, picture: Picture) -> list[Path]:
        """The hint of its very name, or those that have it but for the extension."""
        name = Path(picture.where).relative_to(Path(self.path).expanduser())
        own, *others = (self.hints / name, *(self.hints / name.with_suffix(f".{end}") for end in EXTENSIONS))
        return [own] if own.is_file() else [place for place in others if place.is_file()]

    def _fit(self, frame: Frame, place: Path) -> np.ndarray:
        try:
            return frame.fit(decode(place.read_bytes(), self.wanted.max_pixels))
        except (Unreadable, OSError) as error:
            raise DataError(f"{place}: {error}") from error

    @cached_property
    def _places(self) -> dict[str, Path]:
        found = ((picture.key, self._place(picture)) for picture in self._sound.pictures)
        return {key: place for key, place in found if place is not None}

    @cached_property
    def _channels(self) -> int:
        """Of the hints: grey where all of them are."""
        looks = [looks_like(place) for place in self._places.values()]
        return 1 if all(look is not None and look[1] for look in looks) else 3
