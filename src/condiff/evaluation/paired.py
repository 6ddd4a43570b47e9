"""Does each sample show what it should, picture by picture? Where the answer, or a control, is known."""

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d
from torchmetrics.functional.image import structural_similarity_index_measure

from condiff.evaluation.checks import check_pictures
from condiff.evaluation.each_sample import EachSample
from condiff.evaluation.intervals import Interval
from condiff.evaluation.measurement import PairDistance, Side, gathered
from condiff.ranges import Fraction, Natural, checked

_AT_ONCE = 100  # pairs that a network, or a window at every place, looks at


class Paired(EachSample):
    """The mean over pairs of a picture of one set and the picture at the same place of another."""

    one_size = True
    what: str  # in words, for the protocol
    fake_rows: list[Tensor]
    real_rows: list[Tensor]

    def __init__(self, fake: str, real: str) -> None:
        super().__init__()
        if fake == real:
            raise ValueError(f"{type(self).__name__} compares two different sets, got {fake!r} twice")
        self.fake, self.real = fake, real
        self.protocol = f"{fake} with their {real}, one by one, {self.what}"
        for part in ("fake", "real"):
            self.add_state(f"{part}_rows", [], dist_reduce_fx="cat")

    @property
    def sides(self) -> tuple[str, ...]:
        return (self.fake, self.real)

    @property
    def count(self) -> int:
        return len(gathered(self.fake_rows))

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        check_pictures(self, side, images)
        rows, seen = (self.fake_rows if side == self.fake else self.real_rows), self.seen(images)
        if len(rows) and rows[0].shape[1:] != seen.shape[1:]:
            raise ValueError(f"{type(self).__name__} needs {side} pictures of one size, got several")
        if side == self.fake:
            self.take_places(images)
        rows.append(seen)

    def seen(self, images: Tensor) -> Tensor:
        """What is kept of images, [B, C, H, W] in [-1, 1]."""
        return images

    @abstractmethod
    def each(self, fake: Tensor, real: Tensor) -> Tensor:
        """[N] of what was kept of both."""

    def compute(self) -> Tensor:
        return self.values().mean()

    def interval(self) -> Interval:
        values = self.values()
        return self.mean_within(values)

    def per_sample(self) -> Tensor | None:
        return self.in_turn(self.values())

    def values(self) -> Tensor:
        """[N] of all pairs; ValueError where there are none."""
        fake, real = gathered(self.fake_rows), gathered(self.real_rows)
        if len(fake) < 2 or fake.shape != real.shape:
            raise ValueError(
                f"{type(self).__name__} needs two pictures or more and as many {self.real} of one size, got"
                f" {[*fake.shape]} and {[*real.shape]}"
            )
        return self.each(fake, real).double()


class PeakSignalNoise(Paired):
    """-10 log10 of the mean square of x - y over all pairs, for pixels in [0, 1]: in decibels.

    Of all pairs at once, so that a few pairs without any error do not outweigh the others.
    """

    what = "PSNR in dB of the mean square over all"
    higher_is_better = True

    @checked
    def __init__(self, fake: Side = "samples", real: Side = "targets") -> None:
        super().__init__(fake, real)

    def each(self, fake: Tensor, real: Tensor) -> Tensor:
        return ((fake - real) / 2).double().square().flatten(1).mean(1)

    def compute(self) -> Tensor:
        return _decibels(self.values().mean())

    def interval(self) -> Interval:
        low, high = (_decibels(torch.tensor(end)) for end in super().interval())
        return float(high), float(low)

    def per_sample(self) -> None:
        return None  # the number is no mean over pairs


class StructuralSimilarity(Paired):
    """SSIM (Wang 2004): 1 where both are one picture; windows as in the paper, Gaussian of 11 pixels."""

    what = "SSIM in Gaussian windows of 11 pixels, mean over channels"
    bounds = (-1.0, 1.0)
    higher_is_better = True

    @checked
    def __init__(self, fake: Side = "samples", real: Side = "targets") -> None:
        super().__init__(fake, real)

    def each(self, fake: Tensor, real: Tensor) -> Tensor:
        pairs = zip(fake.double().split(_AT_ONCE), real.double().split(_AT_ONCE), strict=True)
        return torch.cat([similarity(a, b) for a, b in pairs])


class PairedDistance(Paired):
    """How unlike they are to the eye, by a network's maps: LPIPS, or its kin with other weights."""

    bounds = (0.0, math.inf)
    higher_is_better = False

    @checked
    def __init__(self, distance: PairDistance, fake: Side = "samples", real: Side = "targets") -> None:
        self.distance, self.what = distance, distance.name
        super().__init__(fake, real)

    def each(self, fake: Tensor, real: Tensor) -> Tensor:
        parts = zip(fake.split(_AT_ONCE), real.split(_AT_ONCE), strict=True)
        return torch.cat([self.distance(a, b) for a, b in parts])


class ColourError(Paired):
    """The distance of the mean colours of both pictures, each channel in [0, 1]."""

    what = "distance of mean colours"
    bounds = (0.0, math.inf)
    higher_is_better = False

    @checked
    def __init__(self, fake: Side = "samples", real: Side = "targets") -> None:
        super().__init__(fake, real)

    def seen(self, images: Tensor) -> Tensor:
        return (images.mean((2, 3)) + 1) / 2

    def each(self, fake: Tensor, real: Tensor) -> Tensor:
        return (fake - real).norm(dim=1)


class MaskIoU(Paired):
    """Intersection over union of what is brighter than ``threshold`` in both; 1 where neither has anything.

    threshold: of the mean over channels, in [0, 1].
    """

    bounds = (0.0, 1.0)
    higher_is_better = True

    @checked
    def __init__(self, fake: Side = "samples", real: Side = "targets", threshold: Fraction = 0.5) -> None:
        self.what, self.threshold = f"IoU of what is brighter than {threshold:g}", threshold
        super().__init__(fake, real)

    def seen(self, images: Tensor) -> Tensor:
        return (images.mean(1) + 1) / 2 > self.threshold

    def each(self, fake: Tensor, real: Tensor) -> Tensor:
        both, either = (fake & real).flatten(1).sum(1), (fake | real).flatten(1).sum(1)
        return torch.where(either > 0, both / either.clamp(min=1), 1.0)


class EdgeF1(Paired):
    """Harmonic mean of the shares of edge pixels that have one of the other picture near; 1 without any.

    An edge is where Sobel's gradient of the brightness in [0, 1] is longer than ``threshold``.

    threshold: a step from black to white has length 4, the largest but for corners.
    tolerance: pixels that two edges may be apart, in rows and in columns.
    """

    bounds = (0.0, 1.0)
    higher_is_better = True

    @checked
    def __init__(
        self,
        fake: Side = "samples",
        real: Side = "targets",
        threshold: Fraction = 0.25,
        tolerance: Natural = 1,
    ) -> None:
        self.what = f"F1 of Sobel edges over {threshold:g} of a full step, {tolerance} px apart at most"
        self.threshold, self.tolerance = threshold, tolerance
        super().__init__(fake, real)

    def seen(self, images: Tensor) -> Tensor:
        return sobel((images.mean(1, keepdim=True) + 1) / 2)[:, 0] > 4 * self.threshold

    def each(self, fake: Tensor, real: Tensor) -> Tensor:
        return edge_f1(fake, real, self.tolerance)


def iou(one: Tensor, other: Tensor) -> Tensor:
    """[B] float64, intersection over union of two masks, [B, H, W] bool; 1 where both are empty."""
    both, either = (one & other).flatten(1).sum(1), (one | other).flatten(1).sum(1)
    return torch.where(either > 0, both / either.clamp(min=1), 1.0).double()


def edge_f1(edges: Tensor, others: Tensor, tolerance: int) -> Tensor:
    """[N] of edge pixels, [N, H, W] bool: the harmonic mean of the shares with one of the other near."""
    precise, whole = _share(edges, others, tolerance), _share(others, edges, tolerance)
    none = ~(edges.flatten(1).any(1) | others.flatten(1).any(1))
    harmonic = 2 * precise * whole / (precise + whole).clamp(min=1e-12)
    return torch.where(none, 1.0, harmonic)


def sobel(grey: Tensor) -> Tensor:
    """Length of the gradient, [B, 1, H, W], of pictures [B, 1, H, W]; beyond the edge is the edge."""
    across = grey.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    filters = torch.stack([across, across.T])[:, None]
    padded = torch.nn.functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    return conv2d(padded, filters).norm(dim=1, keepdim=True)


def similarity(x: Tensor, y: Tensor) -> Tensor:
    """[B], SSIM of pictures, [B, C, H, W] in [-1, 1]."""
    found = structural_similarity_index_measure(x, y, data_range=2.0, reduction="none")
    assert isinstance(found, Tensor)
    return found


def _share(edges: Tensor, others: Tensor, tolerance: int) -> Tensor:
    """[N]: how many of these edge pixels have one of the others near."""
    near = max_pool2d(others[:, None].double(), 2 * tolerance + 1, 1, tolerance)[:, 0] > 0
    found, all_of_them = (edges & near).flatten(1).sum(1), edges.flatten(1).sum(1)
    return found / all_of_them.clamp(min=1)


def _decibels(square: Tensor) -> Tensor:
    return -10 * square.clamp(min=1e-10).log10()
