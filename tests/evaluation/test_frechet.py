"""The Frechet distance against closed forms, fifty digits, other programs and optimal transport."""

import mpmath
import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment
from torchmetrics.image.fid import _compute_fid

from condiff.evaluation.frechet import FrechetDistance, FrechetTo, frechet_distance, moments, root_of
from condiff.evaluation.frechet_infinity import FrechetInfinity
from tests.evaluation.pictures import Pixels, drawn, seeded, shown


def features(n, dim, seed, decay=1.0):
    """Correlated features whose directions have very different widths."""
    mix = torch.randn(dim, dim, dtype=torch.float64, generator=seeded(dim))
    widths = torch.arange(1, dim + 1).double() ** -decay
    return torch.randn(n, dim, dtype=torch.float64, generator=seeded(seed)) * widths @ mix


def test_of_diagonal_gaussians_it_is_the_distance_of_means_and_widths():
    eye, mean = torch.eye(3).double(), torch.tensor([1.0, 2.0, 2.0]).double()
    assert float(frechet_distance(mean, 4 * eye, 0 * mean, 9 * eye)) == pytest.approx(9 + 3 * 1, rel=1e-12)


def test_of_one_stretched_along_a_rotation_it_is_what_transport_costs():
    """x -> A x with A symmetric positive definite is the optimal map: W2^2 = E |x - A x|^2."""
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=seeded(0))).Q
    stretch = turn @ torch.diag(torch.tensor([0.5, 1.0, 1.5, 2.0, 3.0]).double()) @ turn.T
    cov = features(100, 5, 1).T.cov()
    zero, away = torch.zeros(5).double(), stretch - torch.eye(5)
    expected = (away @ cov @ away).trace()
    assert float(frechet_distance(zero, cov, zero, stretch @ cov @ stretch)) == pytest.approx(
        float(expected), rel=1e-10
    )


def test_optimal_transport_between_samples_approaches_it():
    x = torch.randn(1500, 2, dtype=torch.float64, generator=seeded(1))
    y = torch.randn(1500, 2, dtype=torch.float64, generator=seeded(2)) @ torch.tensor(
        [[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64
    )
    y = y + torch.tensor([1.0, -2.0])
    cost = torch.cdist(x, y).square().numpy()
    transported = cost[linear_sum_assignment(cost)].mean()
    assert float(frechet_distance(*moments(x), *moments(y))) == pytest.approx(transported, rel=0.02)


@pytest.mark.parametrize("n", [300, 65])
def test_it_is_the_matrix_square_root_formula(n):
    a, b = features(n, 64, 1), features(n, 64, 2) + 0.1
    covs = a.T.cov(), b.T.cov()
    expected = np.square((a.mean(0) - b.mean(0)).numpy()).sum() + np.trace(
        covs[0].numpy() + covs[1].numpy() - 2 * sqrtm((covs[0] @ covs[1]).numpy()).real
    )
    assert float(frechet_distance(*moments(a), *moments(b))) == pytest.approx(float(expected), rel=1e-6)


def test_torchmetrics_has_the_same_distance():
    a, b = moments(features(500, 64, 1)), moments(features(500, 64, 2) + 0.1)
    assert float(frechet_distance(*a, *b)) == pytest.approx(float(_compute_fid(*a, *b)), rel=1e-6)


def to_fifty_digits(a, b):
    """The distance from features, with every step in fifty digits."""
    mpmath.mp.dps = 50
    rows = [mpmath.matrix(x.tolist()) for x in (a, b)]
    means = [mpmath.matrix([sum(x[:, j]) / x.rows for j in range(x.cols)]) for x in rows]
    covs = []
    for x, mean in zip(rows, means, strict=True):
        away = mpmath.matrix([[x[i, j] - mean[j] for j in range(x.cols)] for i in range(x.rows)])
        covs.append(away.T * away / (x.rows - 1))
    values, vectors = mpmath.eigsy(covs[0])
    root = vectors * mpmath.diag([mpmath.sqrt(max(v, 0)) for v in values]) * vectors.T
    cross = sum(mpmath.sqrt(max(v, 0)) for v in mpmath.eigsy(root * covs[1] * root, eigvals_only=True))
    apart = sum((means[0] - means[1])[j] ** 2 for j in range(a.shape[1]))
    traces = sum(cov[j, j] for cov in covs for j in range(a.shape[1]))
    return float(apart + traces - 2 * cross)


@pytest.mark.parametrize(("n", "m"), [(40, 40), (5, 40), (40, 5), (5, 6), (2, 2), (13, 12)])
def test_it_is_right_to_nine_digits_whatever_the_ranks(n, m):
    a, b = features(n, 12, 1), features(m, 12, 2) + 0.1
    got = float(frechet_distance(*moments(a), *moments(b)))
    assert got == pytest.approx(to_fifty_digits(a, b), rel=1e-9)
    assert float(FrechetTo(*moments(b))(*moments(a))) == pytest.approx(got, rel=1e-7)


@pytest.mark.parametrize(("n", "m"), [(50, 300), (300, 50), (50, 60), (128, 100)])
def test_with_fewer_pictures_than_features_the_cross_term_is_a_nuclear_norm(n, m):
    """tr (S S')^1/2 is the sum of the singular values of X Y' over the roots of their counts."""
    a, b = features(n, 128, 1), features(m, 128, 2) + 0.1
    away, away_ = (a - a.mean(0)) / (n - 1) ** 0.5, (b - b.mean(0)) / (m - 1) ** 0.5
    expected = (
        (a.mean(0) - b.mean(0)).square().sum()
        + away.square().sum()
        + away_.square().sum()
        - 2 * torch.linalg.svdvals(away @ away_.T).sum()
    )
    got = float(frechet_distance(*moments(a), *moments(b)))
    assert got == pytest.approx(float(expected), rel=1e-8)


@pytest.mark.parametrize("n", [2, 5, 12, 13, 40])
def test_a_covariance_has_a_root_of_its_rank(n):
    cov = features(n, 12, 1).T.cov()
    assert root_of(cov).shape == (12, min(12, n - 1))
    assert torch.allclose(root_of(cov) @ root_of(cov).T, cov, rtol=1e-12, atol=1e-14)


def test_rank_is_not_width_and_rounding_is_no_rank():
    nearly = torch.eye(4).double()
    nearly[0, 1] = nearly[1, 0] = 1 - 2e-16
    assert root_of(nearly).shape == (4, 3)
    narrow = torch.diag(torch.tensor([1.0, 1e-16, 1e-20, 1e8]).double())
    assert root_of(narrow).equal(narrow.sqrt())
    narrow[2, 2] = 0  # a feature that never changes
    assert torch.allclose(root_of(narrow) @ root_of(narrow).T, narrow, rtol=1e-12, atol=0)


def distance(fake, real, parts=1, **options):
    return shown(FrechetDistance(Pixels(4), **options), parts, samples=fake, train=real)


def test_a_set_has_no_distance_to_itself_and_batches_do_not_matter():
    real, fake = drawn(40, 4, 0), drawn(30, 4, 1, 0.5)
    assert float(distance(real, real).compute()) == pytest.approx(0, abs=1e-9)
    assert float(distance(fake, real, parts=7).compute()) == pytest.approx(
        float(distance(fake, real).compute()), rel=1e-9
    )


def test_it_is_the_distance_of_means_and_unbiased_covariances():
    fake, real = drawn(9, 4, 0, 0.5).double(), drawn(7, 4, 1).double()
    expected = frechet_distance(fake.mean(0), fake.T.cov(), real.mean(0), real.T.cov())
    assert float(distance(fake, real).compute()) == pytest.approx(float(expected), rel=1e-9)


def test_a_metric_that_is_reset_has_seen_nothing():
    fake, real = drawn(9, 4, 0, 0.5), drawn(7, 4, 1)
    metric = distance(real, fake)
    metric.reset()
    shown(metric, samples=fake, train=real)
    assert metric.compute().equal(distance(fake, real).compute())


def test_sums_stay_float64():
    assert distance(drawn(5, 4, 0), drawn(5, 4, 1)).fake_outer.dtype == torch.float64


@pytest.mark.parametrize(("fake", "real", "added"), [(9, 5, ""), (4, 9, "_biased_n4"), (9, 3, "_biased_n3")])
def test_with_no_more_pictures_than_features_the_name_says_biased_and_how_many(fake, real, added):
    (name,) = (entries := distance(drawn(fake, 4, 0), drawn(real, 4, 1)).entries("fd")).keys()
    assert name == f"fd{added}"
    assert ("singular" in entries[name]["protocol"]) == bool(added)


def test_a_floor_with_few_pictures_is_not_the_floor_of_another_number():
    assert [*distance(drawn(4, 4, 0), drawn(9, 4, 1)).entries("fd_floor")] == ["fd_biased_n4_floor"]


def test_fewer_pictures_than_the_config_allows_are_refused():
    with pytest.raises(ValueError, match="FrechetDistance needs at least 10 samples pictures, got 9"):
        distance(drawn(9, 4, 0), drawn(20, 4, 1), least=10).compute()


def test_of_samples_of_the_same_gaussian_the_bias_falls_with_their_number_and_infinity_has_none():
    """Against all but the truth, 64 features: 500 pictures are far off, and the line finds the way back."""
    real = drawn(20_000, 64, 0)
    plain, extrapolated = [], []
    for seed in range(1, 9):
        fake = drawn(500, 64, seed)
        plain.append(float(shown(FrechetDistance(Pixels(64)), samples=fake, train=real).compute()))
        metric = FrechetInfinity(Pixels(64), smallest=0.5)
        extrapolated.append(float(shown(metric, samples=fake, train=real).compute()))
    assert np.mean(plain) > 0.02
    assert abs(np.mean(extrapolated)) < 0.06 * np.mean(plain)


def test_infinity_is_not_sought_where_the_bias_is_no_line():
    metric = shown(
        FrechetInfinity(Pixels(64), smallest=0.1), samples=drawn(500, 64, 0), train=drawn(99, 64, 1)
    )
    with pytest.raises(ValueError, match="smallest must leave more pictures than the 64 features, got 50 of"):
        metric.compute()
