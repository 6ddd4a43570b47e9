"""Differences in pairs: computed by hand, and their intervals hold the truth as often as they say."""

import math
from itertools import product

import numpy as np
import pytest

from condiff.reports.paired import difference, of_hits, of_measures, t_quantile


def test_the_interval_of_hits_is_the_one_computed_by_hand():
    """1 gained and 7 lost of 21: 2/23 - 8/23 = -6/23, and half is 1.96 sqrt((10/23 - 36/529) / 23)."""
    found = of_hits(1, 7, 21)
    half = 1.959964 * math.sqrt((230 - 36) / 529 / 23)
    assert found.value == -6 / 21
    assert (found.low, found.high) == pytest.approx((-6 / 23 - half, -6 / 23 + half), rel=1e-12)
    assert (round(found.low, 3), round(found.high, 3)) == (-0.508, -0.013)
    assert (found.discordant, found.is_told_apart) == (8, True)


def test_the_interval_of_hits_is_that_of_a_published_example():
    """ci.prop.ps(.05, 12, 4, 26, 6) of Bonett's R package statpsych: 26 gained and 4 lost of 48."""
    found = of_hits(26, 4, 48)
    assert (found.low, found.high) == pytest.approx((0.2548067, 0.6251933), abs=5e-8)


def covers(up, down, n):
    """How often the truth is inside, where a sample is gained with chance ``up`` and lost with ``down``."""
    inside = 0.0
    for gained in range(n + 1):
        for lost in range(n - gained + 1):
            rest = n - gained - lost
            ways = math.comb(n, gained) * math.comb(n - gained, lost)
            found = of_hits(gained, lost, n)
            if found.low <= up - down <= found.high:
                inside += ways * up**gained * down**lost * (1 - up - down) ** rest
    return inside


def test_the_interval_of_hits_covers_the_truth_about_as_often_as_it_says():
    chances = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
    found = [covers(up, down, 25) for up, down in product(chances, chances)]
    assert len(found) == 36
    assert min(found) > 0.93
    assert 0.945 < np.mean(found) < 0.97


def test_samples_that_all_agree_leave_room_for_what_was_not_seen():
    found = of_hits(0, 0, 50)
    assert found.value == 0
    assert found.low == -found.high
    assert 0.04 < found.high < 0.06
    assert not found.is_told_apart


def test_no_interval_leaves_what_proportions_can_differ_by():
    assert of_hits(3, 0, 3).high == 1
    assert of_hits(0, 3, 3).low == -1


@pytest.mark.parametrize(  # tables of Student's t, such as Abramowitz & Stegun 1964, table 26.10
    ("freedom", "point"), [(1, 12.706205), (2, 4.302653), (5, 2.570582), (30, 2.042272), (120, 1.979930)]
)
def test_the_point_of_students_t_is_that_of_the_tables(freedom, point):
    assert t_quantile(freedom) == pytest.approx(point, abs=1e-6)


def test_with_many_samples_students_t_is_normal():
    assert t_quantile(10_000_000) == pytest.approx(1.959964, abs=1e-5)


def test_the_interval_of_measures_is_students_of_the_differences():
    """Differences 1, 2, 3: mean 2, deviation 1, half 4.302653 / sqrt(3)."""
    found = difference(np.array([2.0, 5.0, 4.0]), np.array([1.0, 3.0, 1.0]))
    assert found is not None
    half = 4.302653 / math.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((2, 2 - half, 2 + half), abs=1e-6)
    assert (found.n, found.discordant, found.is_told_apart) == (3, None, False)


def test_the_interval_of_measures_covers_the_truth_about_as_often_as_it_says():
    drawn = np.random.default_rng(0).normal(0.3, 1, (2000, 6))
    inside = [found.low <= 0.3 <= found.high for found in map(of_measures, drawn)]
    assert 0.94 < np.mean(inside) < 0.96


def test_pairs_tell_apart_what_two_intervals_do_not():
    """Two settings that both miss some 40 % of samples, mostly the same ones."""
    reference = np.arange(500) % 5 < 3
    better = reference.copy()
    better[np.flatnonzero(~reference)[:15]] = True
    found = difference(better, reference)
    assert found is not None
    assert (found.gained, found.lost, found.value) == (15, 0, 0.03)
    assert found.low > 0


def test_hits_are_gained_and_lost_by_their_places():
    found = difference(np.array([True, False, True, False]), np.array([False, True, True, True]))
    assert found is not None
    assert (found.gained, found.lost, found.value) == (1, 2, -0.25)


def test_what_is_not_of_the_same_samples_or_no_number_has_no_difference():
    hits = np.array([True, False])
    assert difference(hits, np.array([True])) is None
    assert difference(hits, np.array([1.0, 0.0])) is None
    assert difference(hits[:1], hits[:1]) is None
    assert difference(np.array([1.0, math.nan]), np.array([1.0, 0.0])) is None


def test_what_a_sum_was_rounded_by_makes_no_difference():
    values = np.linspace(1, 5, 50)
    same = difference(values * (1 + 1e-8), values)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert difference(values * (1 + 1e-4), values).is_told_apart
