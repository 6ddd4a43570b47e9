"""An interval holds what it is said to hold, as often as it is said to."""

import numpy as np
import pytest
import torch

from condiff.evaluation.frechet import FrechetDistance, FrechetTo, moments
from condiff.evaluation.intervals import at_infinity, bootstrap, in_fixed_order, normal, wilson
from tests.evaluation.pictures import Pixels, drawn, seeded, shown


def test_wilson_interval_of_ten_in_ten():
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)  # 1 / (1 + 1.96^2 / 10)
    assert wilson(0, 10)[0] == 0


def test_bootstrap_of_a_mean_is_the_normal_interval():
    x = torch.randn(400, dtype=torch.float64, generator=seeded(0))
    got = bootstrap(lambda index: x[index].mean(), float(x.mean()), 400, 20_000, seeded(1))
    assert got == pytest.approx(normal(float(x.mean()), x), abs=0.006)


def test_the_interval_of_a_frechet_distance_holds_its_expectation_at_that_n_and_its_value():
    """The plain percentiles hold it in a third of these cases, for they count the bias twice."""
    target = FrechetTo(*moments(drawn(2000, 8, 0)))
    fakes = [drawn(100, 8, seed, 0.02, 0.12) for seed in range(1, 151)]
    values = [float(target(*moments(x))) for x in fakes]
    expected, held = np.mean(values), []
    for x, value in zip(fakes, values, strict=True):
        low, high = bootstrap(lambda i, x=x: target(*moments(x[i])), value, 100, 100, seeded(0))
        assert low < value < high
        held.append(low <= expected <= high)
    assert np.mean(held) >= 0.92


def distance(fake, real, parts=1, **options):
    return shown(FrechetDistance(Pixels(4), **options), parts, samples=fake, train=real)


def test_a_frechet_distance_has_an_interval_where_it_is_asked_for_one():
    fake, real = drawn(60, 4, 0, 0.1), drawn(80, 4, 1)
    assert distance(fake, real).report()["interval"] is None
    found = distance(fake, real, bootstrap=100).report()
    assert found["interval"][0] < found["value"] < found["interval"][1]
    assert found["value"] == pytest.approx(distance(fake, real).report()["value"], rel=1e-12)


def test_an_interval_comes_from_its_seed_alone():
    fake, real = drawn(60, 4, 0, 0.1), drawn(80, 4, 1)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = distance(fake, real, bootstrap=20).report()["interval"]
    assert torch.get_rng_state().equal(state)
    turned = distance(fake.flip(0), real, parts=3, bootstrap=20).report()["interval"]
    assert turned == pytest.approx(first, rel=1e-6)
    assert distance(fake, real, bootstrap=20, seed=1).report()["interval"] != pytest.approx(first, rel=1e-6)


def test_a_line_over_one_by_n_is_followed_to_its_end():
    counts = [50, 100, 200, 400]
    assert at_infinity(counts, [3 + 7 / n for n in counts]) == pytest.approx(3, rel=1e-12)


def test_the_order_of_rows_is_theirs_and_not_that_of_their_coming():
    x = drawn(50, 6, 0)
    ordered = in_fixed_order(x)
    assert ordered.equal(in_fixed_order(x[torch.randperm(50, generator=seeded(1))]))
    assert sorted(ordered.tolist()) == sorted(x.tolist())
