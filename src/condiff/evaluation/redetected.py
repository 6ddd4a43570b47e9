"""Hints that any picture can give, found again in samples in the very way that the data found them."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from condiff.evaluation.fidelity import Fidelity
from condiff.evaluation.paired import edge_f1, iou, similarity
from condiff.ranges import Count, Fraction, Natural, NonNegative, checked
from condiff.scenes.hints import canny, coarse, edges, grey, thing
from condiff.scenes.thinning import thickness, thinned


class _Lines(Fidelity):
    """F1 of lines that may be ``tolerance`` pixels apart, in rows and in columns."""

    bounds = (0.0, 1.0)
    higher_is_better = True
    tolerance: int

    def wanted(self, hints: Tensor) -> Tensor:
        return hints.mean(1) > 0.5

    def agreement(self, found: Tensor, asked: Tensor) -> Tensor:
        return edge_f1(found, asked, self.tolerance).double()


class EdgeFidelity(_Lines):
    """F1 of the edges of a sample and those of its hint.

    threshold: of the step from black to white, as the data's. tolerance: pixels that edges may be apart.
    """

    @checked
    def __init__(self, threshold: Fraction = 0.25, tolerance: Natural = 1) -> None:
        self.threshold, self.tolerance = threshold, tolerance
        self.what = f"F1 of Sobel edges over {threshold:g} of a full step, {tolerance} px apart at most"
        super().__init__()

    def seen(self, images: Tensor) -> Tensor:
        return _each(images, lambda picture: edges(picture, self.threshold))


class CannyFidelity(_Lines):
    """F1 of the thin edges of a sample and those of its hint.

    sigma, low, high: as the data's. tolerance: pixels that edges may be apart.
    """

    @checked
    def __init__(
        self, sigma: NonNegative = 1.0, low: Fraction = 0.1, high: Fraction = 0.2, tolerance: Natural = 1
    ) -> None:
        self.sigma, self.low, self.high, self.tolerance = sigma, low, high, tolerance
        self.what = f"F1 of Canny's edges, sigma {sigma:g}, {low:g} to {high:g}, {tolerance} px apart at most"
        super().__init__()

    def seen(self, images: Tensor) -> Tensor:
        return _each(images, lambda picture: canny(picture, self.sigma, self.low, self.high))


class MaskIoU(Fidelity):
    """Intersection over union of what stands out in a sample and of the white of its hint."""

    bounds = (0.0, 1.0)
    higher_is_better = True

    @checked
    def __init__(self, threshold: Fraction = 0.1) -> None:
        self.threshold = threshold
        self.what = f"IoU of what is {threshold:g} of black to white from the rim and the mask"
        super().__init__()

    def seen(self, images: Tensor) -> Tensor:
        return _each(images, lambda picture: thing(picture, self.threshold))

    def wanted(self, hints: Tensor) -> Tensor:
        return hints.mean(1) > 0.5

    def agreement(self, found: Tensor, asked: Tensor) -> Tensor:
        return iou(found, asked)


class StrokeFidelity(_Lines):
    """F1 of what is darker than half in a sample and the strokes, white on black, of its hint.

    tolerance: pixels that they may be apart.
    """

    @checked
    def __init__(self, tolerance: Natural = 1) -> None:
        self.tolerance = tolerance
        self.what = f"F1 of what is darker than half and the strokes, {tolerance} px apart at most"
        super().__init__()

    def seen(self, images: Tensor) -> Tensor:
        return _each(images, lambda picture: grey(picture) < 0.5)


class SkeletonFidelity(_Lines):
    """F1 of the lines in what is brighter than half of a sample, thinned (Zhang 1984), and of its hint.

    tolerance: pixels that they may be apart.
    """

    @checked
    def __init__(self, tolerance: Natural = 1) -> None:
        self.tolerance = tolerance
        self.what = f"F1 of the thinned strokes and the hint's lines, {tolerance} px apart at most"
        super().__init__()

    def seen(self, images: Tensor) -> Tensor:
        return _each(images, lambda picture: thinned(grey(picture) > 0.5))


class ThicknessError(Fidelity):
    """How far strokes are from being as thick as those of the real picture, in pixels: no line shows it."""

    what = "distance of ink per pixel of the thinned strokes from the real picture's, in pixels"
    higher_is_better = False

    @property
    def sides(self) -> tuple[str, ...]:
        return ("samples", "targets")

    def seen(self, images: Tensor) -> Tensor:
        return _each(images, lambda picture: np.array(thickness(grey(picture))))

    def agreement(self, found: Tensor, asked: Tensor) -> Tensor:
        return (found - asked).abs()


class GreyFidelity(Fidelity):
    """SSIM (Wang 2004) of the brightness of a sample and of its hint."""

    what = "SSIM of the brightness"
    bounds = (-1.0, 1.0)
    higher_is_better = True

    def seen(self, images: Tensor) -> Tensor:
        return _each(images, grey).float()

    def wanted(self, hints: Tensor) -> Tensor:
        return hints.mean(1)

    def agreement(self, found: Tensor, asked: Tensor) -> Tensor:
        one, other = (2 * rows[:, None].double() - 1 for rows in (found, asked))
        return torch.cat([similarity(*pair) for pair in zip(one.split(100), other.split(100), strict=True)])


class SoftEdgeFidelity(GreyFidelity):
    """SSIM (Wang 2004) of HED's soft edges (Xie & Tu 2015) of a sample and of its hint."""

    what = "SSIM of HED's soft edges"

    def seen(self, images: Tensor) -> Tensor:
        from condiff.scenes.hed import soft_edges  # noqa: PLC0415  its weights are an extra's

        return _each(images, soft_edges).float()


class CoarseError(Fidelity):
    """How far the mean colours of squares of ``factor`` pixels a side are from the hint's, on average."""

    higher_is_better = False

    @checked
    def __init__(self, factor: Count = 4) -> None:
        self.factor, self.what = factor, f"distance of the mean colours of squares of {factor} pixels"
        super().__init__()

    def seen(self, images: Tensor) -> Tensor:
        return self._squares(_each(images, lambda picture: coarse(picture, self.factor) / 255))

    def wanted(self, hints: Tensor) -> Tensor:
        return self._squares(hints.movedim(1, -1))

    def agreement(self, found: Tensor, asked: Tensor) -> Tensor:
        return (found - asked).double().norm(dim=-1).mean((1, 2))

    def _squares(self, pixels: Tensor) -> Tensor:
        """One pixel of each, [B, h, w, C]."""
        rows = pixels if pixels.ndim == 4 else pixels[..., None]
        return rows[:, :: self.factor, :: self.factor].float()


class CoarseColourError(CoarseError):
    """The same distance from the picture that the hint is of: are its colours right, which no line shows?"""

    @checked
    def __init__(self, factor: Count = 4) -> None:
        super().__init__(factor)
        self.protocol += ", from those of the real picture"

    @property
    def sides(self) -> tuple[str, ...]:
        return ("samples", "targets")


def _each(images: Tensor, find: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """What is found in each picture, [B, C, H, W] in [-1, 1], as data see it: in 256 steps."""
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(1, -1).cpu().numpy()
    plain = [picture[..., 0] if picture.shape[-1] == 1 else picture for picture in pixels]
    blank = np.zeros(pixels.shape[1:3] if pixels.shape[-1] == 1 else pixels.shape[1:], np.uint8)
    rows = np.stack([find(picture) for picture in (*plain, blank)])[:-1]  # of their shape without any, too
    return torch.from_numpy(rows).to(images.device)
