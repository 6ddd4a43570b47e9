"""Lines in the middle of shapes, of shapes whose lines are known."""

import numpy as np
import pytest

from condiff.data.mnist import Mnist
from condiff.scenes.thinning import drawn, thickness, thinned


def shape(*rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


def test_a_bar_is_left_as_its_middle_row():
    bar = np.zeros((9, 20), bool)
    bar[3:6, 3:17] = True
    rows, columns = thinned(bar).nonzero()
    assert {*rows} == {4}
    assert [*columns] == [*range(columns[0], columns[-1] + 1)]
    assert columns[0] in (4, 5)
    assert columns[-1] in (14, 15)


def test_what_is_a_pixel_wide_stays():
    lines = shape("#....", ".#...", "..#..", "..#..", "...##", ".....")
    assert np.array_equal(thinned(lines), lines)
    dot = shape("...", ".#.", "...")
    assert np.array_equal(thinned(dot), dot)


def test_two_rows_become_one_and_a_square_of_two_goes():
    rows = np.zeros((6, 12), bool)
    rows[2:4, 2:10] = True
    assert thinned(rows).sum(0).max() == 1
    assert thinned(rows).sum() >= 6
    assert not thinned(shape("....", ".##.", ".##.", "....")).any()  # as the rule of 1984 has it


def test_of_a_ring_a_ring_is_left_and_at_the_edge_of_a_picture_too():
    ring = np.ones((9, 9), bool)
    ring[3:6, 3:6] = False
    middle = np.zeros_like(ring)
    middle[1:8, 1:8] = True
    middle[2:7, 2:7] = False
    line = thinned(ring)
    assert holes(line) == 1
    assert (line ^ middle).sum() <= 2  # a corner may be cut


def test_a_cross_of_thick_bars_is_a_cross():
    cross = np.zeros((15, 15), bool)
    cross[6:9, 1:14] = cross[1:14, 6:9] = True
    line = thinned(cross)
    assert line[7, 3:12].all()
    assert line[3:12, 7].all()
    assert line.sum() <= 25


@pytest.fixture(scope="module")
def digits():
    return [example.image > 127 for example in Mnist(32, held_out_per_class=2).examples("held_out")]


def test_digits_keep_their_parts_and_holes_and_are_thin(digits):
    assert len(digits) == 20
    for digit in digits:
        line = thinned(digit)
        assert not (line & ~digit).any()
        assert np.array_equal(thinned(line), line)
        assert (parts(line), holes(line)) == (parts(digit), holes(digit))
        inside = np.lib.stride_tricks.sliding_window_view(line, (3, 3)).all((2, 3))
        assert not inside.any()
    assert {holes(digit) for digit in digits} >= {0, 1, 2}


def test_a_pen_is_as_wide_as_it_says_and_thickness_is_that():
    line = np.zeros((20, 30), bool)
    line[10, 5:25] = True
    for width in (1.0, 1.5, 3.0, 4.5):
        picture = drawn(line, width)
        assert picture[:, 15].sum() == pytest.approx(width)
        assert np.array_equal(picture[1:], picture[:0:-1])  # even about the line
        round_end = picture[10, 25:].sum()
        assert round_end == pytest.approx((width - 1) / 2)
    assert thickness(drawn(line, 1.0)) == 1
    assert thickness(drawn(line, 3.0)) == pytest.approx(3, abs=0.5)  # its ends are shorter
    assert thickness(np.zeros((5, 5))) == 0


def parts(of):
    return _count(of, [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)])


def holes(of):
    """What is not of a shape and not joined, side by side, to what is around the picture."""
    return _count(~np.pad(of, 1), [(0, 1), (1, 0), (0, -1), (-1, 0)]) - 1


def _count(of, steps):
    left, count = {*zip(*of.nonzero(), strict=True)}, 0
    while left:
        count, ahead = count + 1, [left.pop()]
        while ahead:
            y, x = ahead.pop()
            near = {(y + down, x + right) for down, right in steps} & left
            left -= near
            ahead += near
    return count
