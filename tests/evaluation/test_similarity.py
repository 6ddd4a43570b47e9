"""Fidelity to a subject, where cosines are known."""

import math

import pytest
import torch

from condiff.evaluation.similarity import SubjectFidelity
from tests.evaluation.pictures import Pixels, shown


def measured(fake, real):
    return shown(SubjectFidelity(Pixels(2)), samples=torch.tensor(fake), train=torch.tensor(real))


def test_it_is_the_mean_cosine_over_all_pairs_whatever_their_lengths():
    found = measured([[1.0, 0.0], [0.0, 0.5]], [[0.25, 0.0], [0.5, 0.5]])
    assert float(found.compute()) == pytest.approx((1 + math.sqrt(0.5) + 0 + math.sqrt(0.5)) / 4)


def test_the_subject_itself_has_1_and_its_opposite_has_minus_1():
    assert float(measured([[0.2, 0.1]] * 3, [[0.4, 0.2]] * 2).compute()) == pytest.approx(1)
    found = measured([[-0.2, -0.1]] * 3, [[0.4, 0.2]] * 2)
    assert float(found.compute()) == pytest.approx(-1)
    assert found.interval() == pytest.approx((-1, -1))


def test_its_interval_is_that_of_a_mean_over_samples():
    low, high = measured([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0]] * 2).interval() or (0, 0)
    assert (low + high) / 2 == pytest.approx(2 / 3)
    assert high - low == pytest.approx(2 * 1.959964 / 3)


def test_features_without_a_direction_are_refused():
    with pytest.raises(ValueError, match="pixels features of a samples picture are all zero"):
        measured([[0.0, 0.0]] * 2, [[1.0, 0.0]] * 2).compute()
