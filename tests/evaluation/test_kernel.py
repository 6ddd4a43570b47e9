"""Discrepancies against written-out sums, expectations and variances."""

import itertools

import numpy as np
import pytest
import torch

from condiff.evaluation import distances
from condiff.evaluation.kernel import (
    Cubic,
    Discrepancy,
    GaussianDistance,
    KernelDistance,
    SubsetKernelDistance,
)
from tests.evaluation.pictures import Pixels, drawn, seeded, shown


def cubic(a, b):
    return (float(np.dot(a, b)) / len(a) + 1) ** 3


def written_out(x, y, kernel=cubic):
    """Binkowski 2018, eq. 4, pair by pair."""
    xx = np.mean([kernel(a, b) for a, b in itertools.permutations(x, 2)])
    yy = np.mean([kernel(a, b) for a, b in itertools.permutations(y, 2)])
    return xx + yy - 2 * np.mean([kernel(a, b) for a, b in itertools.product(x, y)])


def test_it_is_the_mean_over_pairs_of_different_pictures(monkeypatch):
    x, y = drawn(11, 3, 0).double(), drawn(7, 3, 1, 0.4).double()
    expected = written_out(x.numpy(), y.numpy())
    assert float(Discrepancy.of(x, y, Cubic()).unbiased()) == pytest.approx(expected, rel=1e-12)
    monkeypatch.setattr(distances, "_ELEMENTS", 20)  # blocks of one row and of two
    assert float(Discrepancy.of(x, y, Cubic()).unbiased()) == pytest.approx(expected, rel=1e-12)


def normal_pair(n, m, seed, dim=4):
    g = seeded(seed)
    return (torch.randn(k, dim, dtype=torch.float64, generator=g) for k in (n, m))


def test_of_two_samples_of_one_kind_it_is_zero_on_average_with_the_spread_of_a_degenerate_u_statistic():
    n, m = 60, 40
    estimates = np.array(
        [float(Discrepancy.of(*normal_pair(n, m, s), Cubic()).unbiased()) for s in range(1500)]
    )
    pool, other = (x.numpy() for x in normal_pair(3000, 3000, 10**6))
    kernel = (pool @ other.T / 4 + 1) ** 3
    centred = kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()
    variance = np.square(centred).mean() * (2 / (n * (n - 1)) + 2 / (m * (m - 1)) + 4 / (n * m))
    assert abs(estimates.mean()) < 3 * (variance / len(estimates)) ** 0.5
    assert estimates.std() == pytest.approx(variance**0.5, rel=0.15)


def test_its_interval_holds_the_expected_value_under_new_samples():
    _, real = normal_pair(1, 300, 0)
    drawings = [1.2 * x + 0.2 for x in (next(normal_pair(400, 0, s)) for s in range(1, 401))]
    found = [KernelDistance(Pixels(4)) for _ in drawings]
    for metric, fake in zip(found, drawings, strict=True):
        metric.fake_features, metric.real_features = [fake], [real]
    entries = [metric.report() for metric in found]
    expected = np.mean([entry["value"] for entry in entries])
    held = np.mean([entry["interval"][0] <= expected <= entry["interval"][1] for entry in entries])
    assert 0.9 <= held <= 0.98


def test_subsets_of_everything_are_everything():
    fake, real = drawn(50, 4, 0), drawn(50, 4, 1, 0.2)
    metric = shown(SubsetKernelDistance(Pixels(4), subsets=3, subset_size=50), samples=fake, train=real)
    entries = metric.entries("kid")
    whole = shown(KernelDistance(Pixels(4)), samples=fake, train=real).compute()
    assert entries["kid"]["value"] == pytest.approx(float(whole), rel=1e-9)
    assert entries["kid_std"]["value"] == pytest.approx(0, abs=1e-12)


def test_subsets_agree_with_the_whole_on_average_and_come_from_their_seed_alone():
    fake, real = drawn(400, 4, 0), drawn(300, 4, 1, 0.2)

    def subsets(seed, parts=1):
        metric = SubsetKernelDistance(Pixels(4), subsets=100, subset_size=100, seed=seed)
        return shown(metric, parts, samples=fake, train=real).entries("kid")

    whole = float(shown(KernelDistance(Pixels(4)), samples=fake, train=real).compute())
    found = subsets(0)
    assert abs(found["kid"]["value"] - whole) < 4 * found["kid_std"]["value"] / 100**0.5
    torch.manual_seed(1)
    assert subsets(0) == found
    assert subsets(1) != found
    expected_spread = 0.1 * whole  # the witness's spread over 100 of the 400, seen by repetition
    assert 0.3 * expected_spread < found["kid_std"]["value"] < 10 * expected_spread


def test_fewer_pictures_than_a_subset_are_refused():
    metric = shown(SubsetKernelDistance(Pixels(4)), samples=drawn(50, 4, 0), train=drawn(2000, 4, 1))
    with pytest.raises(ValueError, match="SubsetKernelDistance needs at least 1000 samples pictures, got 50"):
        metric.compute()


def test_cmmd_is_a_thousand_times_the_distance_of_mean_embeddings():
    x, y = drawn(9, 3, 0).double().numpy(), drawn(6, 3, 1, 0.4).double().numpy()

    def kernel(a, b):
        return np.exp(-np.square(a - b).sum() / 2 / 10**2)

    def mean(p, q):
        return np.mean([kernel(a, b) for a, b in itertools.product(p, q)])

    metric = GaussianDistance(Pixels(3))
    shown(metric, samples=torch.from_numpy(x), train=torch.from_numpy(y))
    assert float(metric.compute()) == pytest.approx(
        1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y)), rel=1e-6
    )


def test_in_a_wide_gaussian_kernel_it_is_the_distance_of_means():
    """2 (1 - exp(-d^2 / 2 sigma^2)) of two points at distance d."""
    x, y = torch.zeros(5, 3).double(), torch.zeros(4, 3).double()
    y[:, 0] = 1
    metric = shown(GaussianDistance(Pixels(3), sigma=2.0), samples=x, train=y)
    assert float(metric.compute()) == pytest.approx(2000 * (1 - np.exp(-1 / 8)), rel=1e-12)
