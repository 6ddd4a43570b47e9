"""Differences over seeds: by hand, and each interval covers what it says it does."""

import math

import numpy as np
import pytest

from condiff.reports.over_seeds import ALIKE, SAME, Pair, apart, over_seeds
from condiff.reports.paired import Difference, difference, of_hits, of_measures
from condiff.reports.runs import Run

NONE = Run({}, {}, {})


def pair(found, trained="", value=0.0, is_paired=True):
    return Pair(NONE, NONE, found.value if found else value, found, trained, is_paired)


def seeds(*founds):
    """Each of a training of its own."""
    one = over_seeds([pair(found, str(k)) for k, found in enumerate(founds)])
    assert one is not None
    return one


def test_two_trainings_are_the_interval_of_students_t_computed_by_hand():
    """Differences 0.1 and 0.3: mean 0.2, deviation sqrt(0.02), half 12.706205 sqrt(0.02 / 2) = 1.2706."""
    found = seeds(*(of_measures(np.array([value - 0.01, value + 0.01] * 50)) for value in (0.1, 0.3)))
    assert found.value == pytest.approx(0.2)
    assert found.trainings == pytest.approx((0.2 - 1.2706205, 0.2 + 1.2706205), rel=1e-6)
    halves = 1.984217 * math.sqrt(0.0001 * 100 / 99 / 100)  # of each, by the table of t at 99
    assert found.samples == pytest.approx(
        (0.2 - halves / math.sqrt(2), 0.2 + halves / math.sqrt(2)), rel=1e-5
    )
    assert (found.num_trainings, found.n, found.hits) == (2, 200, None)


def test_hits_of_all_seeds_count_together():
    found = seeds(of_hits(8, 1, 50), of_hits(6, 3, 50))
    whole = of_hits(14, 4, 100)
    assert found.value == pytest.approx(0.1)
    assert found.samples == pytest.approx((whole.low, whole.high))
    assert found.hits == (14, 4)


def test_seeds_of_one_training_tell_nothing_of_others():
    found = over_seeds([pair(of_hits(8, 1, 50), "one"), pair(of_hits(7, 1, 50), "one")])
    assert found is not None
    assert (found.trainings, found.num_trainings) == (None, 1)
    assert found.verdict(True) == "better here"


def test_trainings_weigh_the_same_however_many_seeds_sample_them():
    """Two seeds of the first training, one of the second: (0.2 + 0.4) / 2 less 0."""
    parts = [(0.1, "a"), (0.3, "a"), (0.4, "b")]
    found = over_seeds([pair(Difference(value, value - 1, value + 1, 9), name) for value, name in parts])
    assert found is not None
    assert (found.value, found.num_trainings) == (pytest.approx(0.3), 2)


def test_equal_hits_of_two_trainings_are_no_certainty():
    """Without any deviation between trainings the interval over samples is left."""
    found = seeds(of_hits(3, 1, 100), of_hits(3, 1, 100))
    assert found.trainings == found.samples
    assert found.verdict(True) == ALIKE


def test_numbers_without_an_interval_of_their_own_are_judged_over_trainings_alone():
    found = over_seeds([pair(None, str(k), value, False) for k, value in enumerate((-2.0, -2.1, -2.2))])
    assert found is not None
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert found.samples is None
    assert found.trainings == pytest.approx((-2.1 - half, -2.1 + half), rel=1e-6)
    assert (found.verdict(False), found.n) == ("better", 0)
    assert over_seeds([pair(None, "a", -2.0, False)]) is None
    assert over_seeds([pair(None, str(k), -2.0, False) for k in range(2)]) is None  # of chance or rounding


@pytest.mark.parametrize(
    ("gained", "lost", "more_is_better", "word"),
    [
        ((30, 31), (0, 1), True, "better"),
        ((30, 31), (0, 1), False, "worse"),
        ((30, 31), (0, 1), None, "more"),
        ((10, 40), (0, 0), True, "better here"),
        ((0, 0), (10, 40), True, "worse here"),
        ((3, 1), (2, 2), True, ALIKE),
        ((0, 0), (0, 0), True, SAME),
        ((1, 0), (0, 1), True, ALIKE),
    ],
)
def test_the_verdict_says_whether_it_holds_for_other_trainings(gained, lost, more_is_better, word):
    found = seeds(*(of_hits(up, down, 100) for up, down in zip(gained, lost, strict=True)))
    assert found.verdict(more_is_better) == word


@pytest.mark.parametrize("trainings", [2, 3, 5])
def test_the_interval_over_trainings_covers_them_and_that_over_samples_does_not(trainings):
    """The effect of a setting is 0.1, of each training 0.1 + 0.05 g; a sample adds noise of deviation 0.3."""
    rng = np.random.default_rng(trainings)
    own, over, here = 0.1 + 0.05 * rng.standard_normal((1500, trainings)), [], []
    for effects in own:
        found = seeds(*(of_measures(effect + 0.3 * rng.standard_normal(200)) for effect in effects))
        assert found.samples is not None
        assert found.trainings is not None
        over.append(found.trainings[0] <= 0.1 <= found.trainings[1])
        here.append(found.samples[0] <= effects.mean() <= found.samples[1])
        here[-1] += 2j * (found.samples[0] <= 0.1 <= found.samples[1])
    assert np.mean(over) > 0.94
    assert 0.935 < np.mean(np.real(here)) < 0.965  # of these trainings it is the right one
    assert np.mean(np.imag(here)) / 2 < 0.65  # and of others far too short


def test_two_numbers_apart_have_the_interval_of_independent_ones():
    """5 [4, 7] less 3 [1, 4]: down sqrt(1 + 1), up sqrt(4 + 4)."""
    found = apart((5.0, 4.0, 7.0), (3.0, 1.0, 4.0), 100)
    assert (found.value, found.low, found.high) == pytest.approx((2, 2 - math.sqrt(2), 2 + math.sqrt(8)))


def test_numbers_apart_of_normal_means_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    inside = []
    for x, y in rng.normal((1.0, 0.5), (0.2, 0.4), (4000, 2)):
        found = apart((x, x - 0.392, x + 0.392), (y, y - 0.784, y + 0.784), 9)
        inside.append(found.low <= 0.5 <= found.high)
    assert 0.94 < np.mean(inside) < 0.96


def test_pairs_of_samples_are_told_apart_where_two_numbers_are_not():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(500)
    found = difference(noise + 0.1, noise)
    assert found is not None
    half = 1.96 / math.sqrt(500)
    crude = apart((0.1, 0.1 - half, 0.1 + half), (0.0, -half, half), 500)
    assert found.low > 0 > crude.low
