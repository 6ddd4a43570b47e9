"""Hints out of pictures."""

from abc import ABC, abstractmethod

import numpy as np

from condiff.data.source import Example
from condiff.errors import DataError
from condiff.ranges import Count, Fraction, checked
from condiff.scenes.hints import coarse, edges, grey


class Detector(ABC):
    """Makes the hint of an example, as large as its picture."""

    @abstractmethod
    def __call__(self, example: Example) -> np.ndarray:
        """[H, W] or [H, W, 3] uint8"""

    def channels(self, of_picture: int) -> int:
        """Of a hint; by default it is grey."""
        return 1


class Edges(Detector):
    """Where Sobel's gradient of the brightness is longer than ``threshold`` of that from black to white."""

    @checked
    def __init__(self, threshold: Fraction = 0.25) -> None:
        self.threshold = threshold

    def __call__(self, example: Example) -> np.ndarray:
        return np.uint8(255) * edges(example.image, self.threshold)


class Grey(Detector):
    """The brightness, for colours to be found anew."""

    def __call__(self, example: Example) -> np.ndarray:
        return np.rint(255 * grey(example.image)).astype(np.uint8)


class LowRes(Detector):
    """The mean colours of squares of ``factor`` pixels a side, for detail to be found anew."""

    @checked
    def __init__(self, factor: Count = 4) -> None:
        self.factor = factor

    def __call__(self, example: Example) -> np.ndarray:
        if example.image.shape[0] % self.factor:
            raise DataError(
                f"data.detector.factor: must divide the size {example.image.shape[0]}, got {self.factor}"
            )
        return np.rint(coarse(example.image, self.factor)).astype(np.uint8)

    def channels(self, of_picture: int) -> int:
        return of_picture


class Strokes(Detector):
    """The lines that a drawing was made of, white on black, where its source brings them."""

    def __call__(self, example: Example) -> np.ndarray:
        if example.line is None:
            raise DataError(f"data: {example.key} has no lines; use data@data.pictures=emoji with line=true")
        return 255 - example.line
