"""Rectangles of about one area, for pictures to keep about the shape that they have."""

import math
from collections.abc import Sequence

from condiff.data.pictures import Frame

_LONGEST = 4  # sides of 1:4, as the longest of Stable Diffusion XL (Podell 2023, appendix I; from memory)


def frames(size: int, step: int, channels: int) -> list[Frame]:
    """The square of ``size``, and the widest of its area or less to each shorter side.

    Sides are multiples of ``step``, which divides ``size``.
    """
    pairs = [(short, size**2 // short // step * step) for short in range(step, size + 1, step)]
    sides = {pair for pair in pairs if pair[1] <= _LONGEST * pair[0]}
    return [Frame(*pair, channels) for pair in sorted(sides | {(long, short) for short, long in sides})]


def nearest(frames: Sequence[Frame], height: int, width: int) -> Frame:
    """The one with the ratio of sides that is nearest to that of a picture."""
    return min(frames, key=lambda frame: abs(math.log(frame.height * width / (frame.width * height))))
