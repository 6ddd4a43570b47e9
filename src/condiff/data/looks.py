"""MNIST in other styles: what a model of the digits as they are can be adapted to."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np

from condiff.data.edits import around
from condiff.data.mnist import Mnist
from condiff.data.source import DataInfo, Example, Split
from condiff.ranges import Range, checked


class Look(Mnist):
    """The same digits under the same keys, each drawn anew; those held out of the one are held out of all."""

    name: ClassVar[str]

    @abstractmethod
    def drawn(self, image: np.ndarray) -> np.ndarray:
        """Of a picture, [H, W] uint8, as large a one."""

    def info(self) -> DataInfo:
        info = super().info()
        return replace(info, source=f"{info.source}, {self.name}")

    def examples(self, split: Split) -> Iterator[Example]:
        for digit in super().examples(split):
            yield replace(digit, image=np.ascontiguousarray(self.drawn(digit.image)))


class Inverted(Look):
    """Black on white."""

    name = "inverted"

    def drawn(self, image: np.ndarray) -> np.ndarray:
        return 255 - image


class Rotated(Look):
    """Turned to the left by a quarter."""

    name = "rotated by 90 degrees"

    def drawn(self, image: np.ndarray) -> np.ndarray:
        return np.rot90(image)


class Thick(Look):
    """Strokes two pixels thicker."""

    name = "thickened"

    def drawn(self, image: np.ndarray) -> np.ndarray:
        return around(image, np.max)


class Slanted(Look):
    """Leaning to the right: a row moves by ``shear`` times its height above the middle, in whole pixels."""

    name = "slanted"

    @checked
    def __init__(
        self,
        size: Annotated[int, Range(low=28)] = 32,
        held_out_per_class: Annotated[int, Range(low=1, high=499)] = 50,
        shear: Annotated[float, Range(low=0, high=1, over=True)] = 0.5,
    ) -> None:
        super().__init__(size, held_out_per_class)
        self.shear = shear

    def drawn(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape
        moves = np.rint(self.shear * ((height - 1) / 2 - np.arange(height))).astype(int)
        columns = np.arange(width)[None] - moves[:, None]  # where a pixel comes from
        found = np.take_along_axis(image, columns.clip(0, width - 1), axis=1)
        return np.where((columns >= 0) & (columns < width), found, 0).astype(np.uint8)
