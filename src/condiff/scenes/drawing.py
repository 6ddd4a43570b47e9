"""How shapes look: outlines of one area for all shapes of a size, drawn without steps at the edges."""

import math

import numpy as np

SIDE = 32  # pixels of the picture that lengths are given for; they grow with it
MARGIN = 1.0  # between a shape and the edge of the picture, which is therefore background
GAP = 2.5  # between two shapes
RADII = {"small": (3.6, 3.9), "large": (4.8, 5.1)}  # of the circle of the same area
BETWEEN = 4.33  # the geometric mean of 3.9 and 4.8
_FINE = 4  # points a pixel and direction

# Lengths over the radius of the circle of the same area, pi.
_SQUARE = math.sqrt(math.pi) / 2  # half a side
_TRIANGLE = math.sqrt(4 * math.pi / math.sqrt(3))  # a side; its centre of mass is a third of the height up
_HEIGHT = _TRIANGLE * math.sqrt(3) / 2
_DIAMOND = math.sqrt(math.pi / 2)  # half a diagonal
_ARM = math.sqrt(math.pi / 5)  # the width of an arm; a cross is five such squares

# How far a shape reaches from its centre of mass: to either side, up, down.
REACH = {
    "circle": (1.0, 1.0, 1.0),
    "square": (_SQUARE, _SQUARE, _SQUARE),
    "triangle": (_TRIANGLE / 2, 2 * _HEIGHT / 3, _HEIGHT / 3),
    "diamond": (_DIAMOND, _DIAMOND, _DIAMOND),
    "cross": (1.5 * _ARM, 1.5 * _ARM, 1.5 * _ARM),
}


def coverage(shape: str, x: float, y: float, radius: float, size: int) -> np.ndarray:
    """[size, size] float64 in [0, 1]: the part of each pixel inside a shape whose centre of mass is (x, y).

    Pixel (i, j) reaches from x = j to j + 1 and from y = i to i + 1.
    """
    side, up, down = (radius * reach for reach in REACH[shape])
    left, right = max(0, math.floor(x - side)), min(size, math.ceil(x + side))
    top, bottom = max(0, math.floor(y - up)), min(size, math.ceil(y + down))
    whole = np.zeros((size, size))
    if left >= right or top >= bottom:
        return whole
    u = (_points(left, right) - x)[None, :] / radius
    v = (_points(top, bottom) - y)[:, None] / radius
    inside = _INSIDE[shape](u, v).reshape(bottom - top, _FINE, right - left, _FINE)
    whole[top:bottom, left:right] = inside.mean(axis=(1, 3))
    return whole


def painted(picture: np.ndarray, part: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """A picture, [H, W, 3], with a colour, [3], over the part, [H, W] in [0, 1], of each pixel."""
    return picture + part[..., None] * (colour - picture)


def _points(first: int, last: int) -> np.ndarray:
    return (np.arange(first * _FINE, last * _FINE) + 0.5) / _FINE


_INSIDE = {
    "circle": lambda u, v: u**2 + v**2 <= 1,
    "square": lambda u, v: np.maximum(abs(u), abs(v)) <= _SQUARE,
    "triangle": lambda u, v: (v <= _HEIGHT / 3) & (math.sqrt(3) * abs(u) <= v + 2 * _HEIGHT / 3),
    "diamond": lambda u, v: abs(u) + abs(v) <= _DIAMOND,
    "cross": lambda u, v: (
        (np.minimum(abs(u), abs(v)) <= _ARM / 2) & (np.maximum(abs(u), abs(v)) <= 1.5 * _ARM)
    ),
}
