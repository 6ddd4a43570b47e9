"""Discs on plain backgrounds, found by plain image analysis, and outlines filled."""

import torch
from torch import Tensor

from condiff.evaluation.fidelity import Fidelity
from condiff.evaluation.paired import iou

_PART = 0.45  # of a pixel that is covered, from which it counts: exactly half does, whatever is rounded
_FAINT = 0.1  # of the length of colours in [0, 1]: what stands out by less is no thing
# Of a picture: that share is at most as far from its background as its thing; a small disc has 5 %.
_SEEN = 0.98


class DiscIoU(Fidelity):
    """Intersection over union of the disc in a picture and the inside of the outline in a hint.

    The disc is what is about as near to its colour as to that of the picture's edge, or nearer.
    """

    what = "IoU of the disc that is found and the filled outline"
    bounds = (0.0, 1.0)
    higher_is_better = True

    def seen(self, images: Tensor) -> Tensor:
        return disc_of(images)

    def wanted(self, hints: Tensor) -> Tensor:
        return filled(hints)

    def agreement(self, found: Tensor, asked: Tensor) -> Tensor:
        return iou(found, asked)


class DiscColourError(Fidelity):
    """How far the colours of the disc and of its background are from those of the real picture, on average.

    Channels in [0, 1]; a picture without a disc has the colour of its background in its place.
    """

    what = "distance of the colours of disc and background to the real picture's"
    higher_is_better = False

    @property
    def sides(self) -> tuple[str, ...]:
        return ("samples", "targets")

    def seen(self, images: Tensor) -> Tensor:
        disc, pixels = disc_of(images)[:, None], (images + 1) / 2
        ground = _mean(pixels, ~disc)
        return torch.stack([torch.where(disc.any((2, 3)), _mean(pixels, disc), ground), ground], 1)

    def agreement(self, found: Tensor, asked: Tensor) -> Tensor:
        return (found - asked).double().norm(dim=2).mean(1)


def disc_of(images: Tensor) -> Tensor:
    """What stands out from the colour of a picture's edge, [B, H, W] bool, of [B, C, H, W] in [-1, 1]."""
    edge = torch.cat([images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]], dim=2)
    ground = edge.median(dim=2).values[..., None, None]
    away = ((images - ground) / 2).norm(dim=1)
    most = away.flatten(1).quantile(_SEEN, dim=1).view(-1, 1, 1)
    return away > (_PART * most).clamp(min=_FAINT)


def filled(hints: Tensor) -> Tensor:
    """What lies on or inside an outline, [B, H, W] bool: there is line on all four sides of it."""
    line = (hints.mean(1) > _PART).float()
    sides = [line.flip(axis).cummax(axis).values.flip(axis) for axis in (1, 2)]
    sides += [line.cummax(axis).values for axis in (1, 2)]
    return torch.stack(sides).amin(0) > 0


def _mean(pixels: Tensor, where: Tensor) -> Tensor:
    """[B, C], the mean of pixels, [B, C, H, W], in a part of each picture, [B, 1, H, W]; 0 of nothing."""
    return (pixels * where).sum((2, 3)) / where.sum((2, 3)).clamp(min=1)
