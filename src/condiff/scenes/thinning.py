"""Lines of one pixel in the middle of shapes, and how thick these are beside them."""

import numpy as np

# Of a pixel's neighbours, from the one above clockwise: P2 ... P9 (Zhang 1984), bits 0 to 7 of a number.
_AROUND = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))
_UP, _RIGHT, _DOWN, _LEFT = 0, 2, 4, 6


def thinned(shape: np.ndarray) -> np.ndarray:
    """[H, W] bool, its lines, of [H, W] bool: what is left when its rims are taken off in turn (Zhang 1984).

    As many parts and holes are left, each line as long as it was but for half its width at either end. A
    square of 2 x 2 goes altogether, which their rule does not keep.
    """
    left = shape.copy()
    while True:
        before = left
        for goes in _RULES:
            left = left & ~goes[_neighbours(left)]
        if np.array_equal(left, before):
            return left


def _neighbours(shape: np.ndarray) -> np.ndarray:
    """[H, W] uint8: which of the eight around each pixel are of the shape; beyond the edge none is."""
    height, width = shape.shape
    padded = np.pad(shape, 1).astype(np.uint8)
    parts = (padded[y : y + height, x : x + width] << bit for bit, (y, x) in enumerate(_AROUND))
    return np.bitwise_or.reduce([*parts])


def _rule(first: tuple[int, int, int], second: tuple[int, int, int]) -> np.ndarray:
    """[256] bool, which pixels go by their neighbours: of either three at least one is none of the shape."""
    there = (np.arange(256)[:, None] >> np.arange(8)) & 1 == 1
    count, begins = there.sum(1), (~there & np.roll(there, -1, 1)).sum(1)
    free = [~there[:, [*three]].all(1) for three in (first, second)]
    return (count >= 2) & (count <= 6) & (begins == 1) & free[0] & free[1]


# Below and right, then above and left (Zhang 1984, conditions a to d, and c' and d').
_RULES = (
    _rule((_UP, _RIGHT, _DOWN), (_RIGHT, _DOWN, _LEFT)),
    _rule((_UP, _RIGHT, _LEFT), (_UP, _DOWN, _LEFT)),
)


def drawn(line: np.ndarray, width: float) -> np.ndarray:
    """[H, W] in [0, 1], of a line, [H, W] bool: along it a round pen so many pixels wide, without steps.

    A dilation whose element is the pen: of a pixel what lies within half the width, and a rim of a pixel.
    """
    reach = int(width / 2 + 0.5)
    places = np.arange(-reach, reach + 1)
    pen = (width / 2 + 0.5 - np.hypot(*np.meshgrid(places, places))).clip(0, 1)
    padded = np.pad(line, reach)
    windows = np.lib.stride_tricks.sliding_window_view(padded, pen.shape)
    return (windows * pen).max((2, 3))


def thickness(brightness: np.ndarray) -> float:
    """Ink, [H, W] in [0, 1], for each pixel of the lines in what is brighter than half; 0 without any."""
    length = int(thinned(brightness > 0.5).sum())
    return float(brightness.sum()) / length if length else 0.0
