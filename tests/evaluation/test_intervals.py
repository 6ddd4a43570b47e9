"""An interval holds what it is said to hold, as often as it is said to."""

import numpy as np
import pytest
import torch

from condiff.evaluation.frechet import FrechetDistance, FrechetTo, frechet_distance, moments
from condiff.evaluation.intervals import at_infinity, bootstrap, in_fixed_order, normal, wilson
from condiff.reports.over_seeds import apart
from condiff.reports.paired import difference
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
    assert plain["protocol"].endswith(
        "; interval at this n and differences in pairs to first order in each of the samples"
    )
    assert again["protocol"].endswith("; differences in pairs to first order in each of the samples")
    floor = FrechetDistance(Pixels(4), fake="held_out", bootstrap=400)
    assert "first order" not in shown(floor, 1, held_out=fake, train=real).report()["protocol"]
    assert again["value"] == pytest.approx(plain["value"], rel=1e-12)


def each_of(fake, real, **sets):
    metric = FrechetDistance(Pixels(fake.shape[1]), **sets)
    return metric, shown(metric, 1, samples=fake, train=real).per_sample()


def test_what_each_sample_makes_of_a_distance_has_the_distance_as_its_mean_and_its_interval():
    fake, real = drawn(160, 4, 0, 0.1), drawn(180, 4, 1)
    metric, values = each_of(fake, real)
    assert values.shape == (160,)
    assert float(values.mean()) == pytest.approx(float(metric.compute()), rel=1e-12)
    assert normal(float(values.mean()), values) == pytest.approx(metric.report()["interval"], rel=1e-12)
    turn = torch.randperm(160, generator=seeded(2))
    torch.testing.assert_close(each_of(fake[turn], real)[1], values[turn])
    torch.testing.assert_close(each_of(fake, real, bootstrap=20)[1], values)


def test_what_each_sample_makes_of_a_distance_is_taken_again_once_there_are_others():
    fake, real, other = drawn(160, 4, 0, 0.1), drawn(180, 4, 1), drawn(160, 4, 2, 0.3)
    metric, first = each_of(fake, real)
    metric.reset()
    shown(metric, 1, samples=other, train=real)
    assert float(metric.per_sample().mean()) == pytest.approx(float(metric.compute()), rel=1e-12)
    assert not torch.allclose(metric.per_sample(), first)


def test_only_samples_have_values_one_by_one():
    pictures = {"held_out": drawn(60, 4, 0), "train": drawn(80, 4, 1)}
    assert shown(FrechetDistance(Pixels(4), fake="held_out"), 1, **pictures).per_sample() is None
    known = {"train": drawn(60, 4, 0), "samples": drawn(80, 4, 1)}
    assert shown(FrechetDistance(Pixels(4), fake="train", real="samples"), 1, **known).per_sample() is None


def paired_distances(n, seed, change):
    """The difference of two sets that start from the same noise, in pairs and as of independent ones."""
    target = FrechetTo(torch.zeros(16).double(), torch.eye(16).double())
    g = seeded(seed)
    x = 1.1 * torch.randn(n, 16, dtype=torch.float64, generator=g) + 0.15
    ends, values = [], []
    for fake in (x, change(x, g)):
        value, terms = float(target(*moments(fake))), target.influence(fake, *moments(fake))
        values.append((value + terms - terms.mean()).numpy())
        ends.append((value, *normal(value, terms)))
    return difference(values[1], values[0]), apart(ends[1], ends[0], n)


def moved(x, _):
    return x + 0.05


def stretched(x, g):
    """As another guidance scale may do, with a little of each sample's own."""
    return 1.03 * x + 0.1 * torch.randn(x.shape, dtype=x.dtype, generator=g)


@pytest.mark.parametrize("n", [60, 400])
@pytest.mark.parametrize(("change", "known"), [(moved, 16 * (0.2**2 - 0.15**2)), (stretched, None)])
def test_a_difference_of_distances_in_pairs_holds_its_expectation_and_is_short(n, change, known):
    """A shift changes the distance by what its means are apart, whatever the covariance that both have."""
    found = [paired_distances(n, seed, change) for seed in range(400)]
    expected = np.mean([pair.value for pair, _ in found]) if known is None else known
    held = np.mean([pair.low <= expected <= pair.high for pair, _ in found])
    assert 0.92 <= held <= 0.99
    shares = [(pair.high - pair.low) / (alone.high - alone.low) for pair, alone in found]
    assert np.mean(shares) < 0.25
    for pair, alone in found:
        assert pair.value == pytest.approx(alone.value, abs=1e-9)


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
