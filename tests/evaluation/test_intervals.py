"""An interval holds what it is said to hold, as often as it is said to."""

import numpy as np
import pytest
import torch

from condiff.evaluation.frechet import FrechetDistance, FrechetTo, frechet_distance, moments
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


def reweighted(x, target, i, step):
    """The distance where picture i has a little more of the weight and all others have less."""
    weights = torch.full((len(x),), (1 - step) / len(x), dtype=x.dtype)
    weights[i] += step
    mean = weights @ x
    away = (x - mean) * weights.sqrt()[:, None]
    cov = away.T @ away * len(x) / (len(x) - 1)
    return float(frechet_distance(mean, cov, target.mean, target.cov))


@pytest.mark.parametrize(("n", "m"), [(60, 80), (9, 80), (60, 7), (6, 9), (3, 3)])
def test_influence_is_the_derivative_of_the_distance_by_the_weight_of_a_picture(n, m):
    """With more pictures than features and with fewer, on either side."""
    x, target = drawn(n, 12, 0, 0.1).double(), FrechetTo(*moments(drawn(m, 12, 1)))
    found, step = target.influence(x, *moments(x)), 1e-4
    slopes = [
        (reweighted(x, target, i, step) - reweighted(x, target, i, -step)) / (2 * step) for i in range(n)
    ]
    slopes = torch.tensor(slopes)
    torch.testing.assert_close(found - found.mean(), (slopes - slopes.mean()).double(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n", [24, 40, 64, 400])
def test_the_interval_to_first_order_holds_the_expectation_at_that_n(n):
    """Of mixtures in 32 skew features, some as near to the real pictures as these are to one another."""

    def pictures(count, seed, shift=0.0):
        g, centres = seeded(seed), torch.randn(5, 32, generator=seeded(7), dtype=torch.float64)
        centred = centres[torch.randint(5, (count,), generator=g)]
        away = torch.randn(count, 32, generator=g, dtype=torch.float64)
        return (centred + 0.7 * away).relu() * torch.arange(1, 33) ** -0.5 + shift

    target = FrechetTo(*moments(pictures(2000, 10**6)))
    for shift in (0.0, 0.2):
        values, ends = [], []
        for seed in range(200):
            x = pictures(n, seed, shift)
            values.append(float(target(*moments(x))))
            ends.append(normal(values[-1], target.influence(x, *moments(x))))
        expected, low, high = np.mean(values), *np.array(ends).T
        assert 0.91 <= np.mean((low <= expected) & (expected <= high)) <= 1, shift
        assert 0.9 < np.mean(high - low) / (2 * 1.96 * np.std(values)) < 1.5, shift


def test_a_frechet_distance_has_an_interval_whether_pictures_are_drawn_again_or_not():
    fake, real = drawn(160, 4, 0, 0.1), drawn(180, 4, 1)
    plain, again = distance(fake, real).report(), distance(fake, real, bootstrap=400).report()
    assert plain["interval"][0] < plain["value"] < plain["interval"][1]
    assert plain["interval"] == pytest.approx(again["interval"], rel=0.1)
    assert plain["protocol"].endswith("; interval at this n to first order in each of the samples")
    assert "first order" not in again["protocol"]
    assert again["value"] == pytest.approx(plain["value"], rel=1e-12)


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
