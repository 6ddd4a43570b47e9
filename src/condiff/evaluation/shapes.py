"""Which coloured shapes a picture shows, by plain image analysis: nothing here is trained.

What stands out from the background is compared with what ``scenes`` says shapes look like, so a picture of
anything else is read as nothing.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from torch import Tensor

from condiff.scenes.drawing import BETWEEN, RADII, SIDE, coverage
from condiff.scenes.scene import BACKGROUNDS, COLOURS, SHAPES, place_at

# Distances in RGB, 0..255, of which the least between two names is 120.
_NEAR = 55.0  # within which a colour has a name
_OFF = 60.0  # from the background, from where on a pixel belongs to a thing
_PART = 0.4  # of the distance of the most distant pixel: the same, so that soft edges do not meet
_CLEAN = 0.8  # of the edge of a picture that must be background
_FULL = (0.7, 1.2)  # of the way from background to colour that the inside of a small, blurred thing may be
_EDGE = 3.0  # pixels of 32 x 32 that the soft edge of a thing may reach
_SPECK = 5.0  # pixels of area, of a picture of 32 x 32, below which something is noise
_UNLIKE = 0.05  # of a thing's area, the most that it may deviate from a shape, squared; real ones have 0.013
_SLACK = 0.25  # of a radius, by which a thing may be smaller or larger than those that are drawn
_SMOOTH = 0.6  # standard deviation in pixels of 32 x 32; against noise, before things are told apart
_BLURS = (0.6, 0.8, 1.1)  # those that shapes are compared at: the smoothing alone, and of blurred pictures


@dataclass(frozen=True)
class Found:
    """A thing in a picture; a colour, shape or size is None where it has no name."""

    colour: str | None
    shape: str | None
    size: str | None
    place: str
    x: float  # of its centre of mass, in pixels
    y: float


@dataclass(frozen=True)
class Reading:
    """What a picture shows; no background and no things where it is no picture of shapes."""

    background: str | None
    things: tuple[Found, ...] = ()


def read(images: Tensor) -> list[Reading]:
    """A reading of each picture, [B, 3, H, H] in [-1, 1]."""
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise ValueError(f"pictures of shapes are [B, 3, H, H], got {[*images.shape]}")
    pixels = ((images.detach().cpu().double() + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    return [_read(picture) for picture in pixels]


def _read(picture: np.ndarray) -> Reading:
    """Of one picture, [H, H, 3] in [0, 255]."""
    size = len(picture)
    picture = ndimage.gaussian_filter(picture, (_SMOOTH * size / SIDE, _SMOOTH * size / SIDE, 0))
    edge = np.concatenate([picture[0], picture[-1], picture[1:-1, 0], picture[1:-1, -1]])
    ground = np.median(edge, axis=0)
    background = _named(ground)
    if background is None or (_distance(edge, ground) < _OFF).mean() < _CLEAN:
        return Reading(None)
    away = _distance(picture, ground)
    parts, count = ndimage.label(away > max(_OFF, _PART * away.max()))  # pyright: ignore[reportGeneralTypeIssues]
    near = _nearest(parts)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    large = [part for part in range(1, count + 1) if sizes[part] >= _SPECK * (size / SIDE) ** 2]
    return Reading(background, tuple(_thing(picture, ground, parts, near, part) for part in large))


def _thing(picture: np.ndarray, ground: np.ndarray, parts: np.ndarray, near: np.ndarray, part: int) -> Found:
    size = len(picture)
    core = picture[parts == part]
    inside = np.median(core[(away := _distance(core, ground)) >= np.median(away)], axis=0)
    colour = _colour(inside, ground)
    full = inside if colour is None else np.array(COLOURS[colour])
    covered = _covered(picture, ground, full, near == part)
    area = covered.sum()
    middle = np.arange(size) + 0.5
    x, y = (covered.sum(0) @ middle) / area, (covered.sum(1) @ middle) / area
    radius, unit = math.sqrt(area / math.pi), size / SIDE
    low, high = RADII["small"][0] * (1 - _SLACK), RADII["large"][1] * (1 + _SLACK)
    length = ("small" if radius < BETWEEN * unit else "large") if low <= radius / unit <= high else None
    shape = None if length is None else _shape(covered, x, y, radius)
    return Found(colour, shape, length, place_at(x, y, size), float(x), float(y))


def _colour(inside: np.ndarray, ground: np.ndarray) -> str | None:
    """The name of a colour that may be mixed with the background, as blur does to what is thin."""
    off = {}
    for name, named in COLOURS.items():
        way = np.array(named) - ground
        share = np.clip((inside - ground) @ way / (way @ way), *_FULL)
        off[name] = float(_distance(inside, ground + share * way))
    nearest = min(off, key=lambda name: off[name])
    return nearest if off[nearest] < _NEAR else None


def _shape(covered: np.ndarray, x: float, y: float, radius: float) -> str | None:
    """The outline that what is covered is most like, if it is like one."""
    unlike = {}
    for shape in SHAPES:
        sharp = coverage(shape, x, y, radius, len(covered))
        for blur in _BLURS:
            drawn = ndimage.gaussian_filter(sharp, blur * len(covered) / SIDE, mode="constant")
            unlike[shape, blur] = ((drawn - covered) ** 2).sum() / covered.sum()
    (shape, _), least = min(unlike.items(), key=lambda item: item[1])
    return shape if least < _UNLIKE else None


def _nearest(parts: np.ndarray) -> np.ndarray:
    """Which part each pixel is of or near to, as its soft edge is; 0 for none."""
    away, at = ndimage.distance_transform_edt(parts == 0, return_indices=True)  # pyright: ignore[reportGeneralTypeIssues]
    return np.where(away <= _EDGE * len(parts) / SIDE, parts[tuple(at)], 0)


def _covered(picture: np.ndarray, ground: np.ndarray, colour: np.ndarray, within: np.ndarray) -> np.ndarray:
    """How far each pixel is on the way from the background to a colour, [H, H] in [0, 1]."""
    way = colour - ground
    return np.clip((picture - ground) @ way / (way @ way), 0, 1) * within


def _named(ground: np.ndarray) -> str | None:
    away = {name: float(_distance(ground, np.array(named))) for name, named in BACKGROUNDS.items()}
    nearest = min(away, key=lambda name: away[name])
    return nearest if away[nearest] < _NEAR else None


def _distance(colours: np.ndarray, one: np.ndarray) -> np.ndarray:
    return np.sqrt(((colours - one) ** 2).sum(-1))
