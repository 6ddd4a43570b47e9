"""The outlines of shapes: their areas, their centres, their edges."""

import math
from itertools import combinations, product

import numpy as np
import pytest

from condiff.scenes.drawing import BETWEEN, GAP, MARGIN, RADII, REACH, SIDE, coverage
from condiff.scenes.scene import BACKGROUNDS, COLOURS, PLACES, SHAPES, place_at, relation_of


@pytest.mark.parametrize("shape", SHAPES)
def test_all_shapes_of_a_radius_have_the_area_and_the_centre_of_that_circle(shape):
    """On average over where they lie between the points that a pixel is made of, 1/4 apart."""
    middle, areas, off = np.arange(64) + 0.5, [], []
    for dx, dy in product(np.arange(8) / 32, repeat=2):
        part = coverage(shape, 30 + dx, 34 + dy, 12.0, 64)
        areas.append(part.sum())
        centre = (part.sum(0) @ middle / areas[-1], part.sum(1) @ middle / areas[-1])
        off.append(np.subtract(centre, (30 + dx, 34 + dy)))
    assert np.mean(areas) == pytest.approx(math.pi * 12**2, rel=2e-3)
    assert np.abs(np.mean(off, 0)).max() < 0.02
    assert np.abs(off).max() <= 1 / 8 + 1e-9


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_reaches_as_far_as_is_said(shape):
    x, y, radius = 48.0, 48.0, 20.0
    rows, columns = np.nonzero(coverage(shape, x, y, radius, 96))
    side, up, down = (radius * reach for reach in REACH[shape])
    for found, end in ((columns.min(), x - side), (columns.max() + 1, x + side)):
        assert found == pytest.approx(end, abs=1.01)
    for found, end in ((rows.min(), y - up), (rows.max() + 1, y + down)):
        assert found == pytest.approx(end, abs=1.01)


def test_half_a_pixel_is_half_covered():
    part = coverage("square", 4.5, 4.0, 4 / math.sqrt(math.pi), 10)  # a square of 4 x 4
    assert part[4].tolist() == [0, 0, 0.5, 1, 1, 1, 0.5, 0, 0, 0]
    assert part[:, 4].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0]


def test_what_is_outside_of_the_picture_is_not_drawn():
    assert not coverage("circle", -20, 5, 3, 16).any()
    assert coverage("circle", 0, 8, 4, 16).sum() == pytest.approx(math.pi * 8, rel=0.03)  # half of it


def test_no_two_colours_are_near():
    every = {**COLOURS, **BACKGROUNDS}.items()
    assert min(math.dist(one, other) for (_, one), (_, other) in combinations(every, 2)) >= 120


def test_places_and_relations_are_where_they_are_said_to_be():
    centres = [place_at(x, y, 30) for y in (5, 15, 25) for x in (5, 15, 25)]
    assert centres == [*PLACES]
    assert place_at(30, 0, 30) == "top right"
    assert relation_of(-5, 3) == "to the left of"
    assert relation_of(5, -3) == "to the right of"
    assert relation_of(3, -5) == "above"
    assert relation_of(-3, 5) == "below"


def test_the_two_largest_shapes_fit_beside_and_above_each_other():
    largest = RADII["large"][1]
    for one, other in product(REACH.values(), repeat=2):
        assert 2 * MARGIN + GAP + largest * (2 * one[0] + 2 * other[0]) <= SIDE
        assert 2 * MARGIN + GAP + largest * (one[1] + one[2] + other[1] + other[2]) <= SIDE


def test_the_largest_shape_fits_into_every_corner():
    for side, up, down in REACH.values():
        assert MARGIN + RADII["large"][1] * max(side, up, down) <= SIDE / 3 - 1


def test_sizes_are_told_apart_halfway_between_their_areas():
    assert math.sqrt(RADII["small"][1] * RADII["large"][0]) == pytest.approx(BETWEEN, abs=0.01)
