"""Numbers that are known in advance."""

import pytest
import torch
from scipy.linalg import sqrtm

from condiff.evaluation.accuracy import ClassAccuracy, wilson
from condiff.evaluation.frechet import FrechetDistance, frechet_distance
from condiff.evaluation.judge import Judge


class Pixels:
    """The poorest features there are: the image itself."""

    name = "pixels"

    def __init__(self, feature_dim: int) -> None:
        self.feature_dim = feature_dim

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)


def pictures(n: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(n, 1, 2, 2, generator=torch.Generator().manual_seed(seed)) + shift


def measured(fake: torch.Tensor, real: torch.Tensor, parts: int = 1) -> float:
    metric = FrechetDistance(Pixels(4), fake="samples", real="train")
    for side, images in (("samples", fake), ("train", real)):
        for part in images.chunk(parts):
            metric.update(side, part, None)
    return float(metric.compute())


def test_frechet_distance_of_known_gaussians():
    eye = torch.eye(3).double()
    mean = torch.tensor([1.0, 2.0, 2.0]).double()
    # |mu|^2 + sum (s - s')^2 for diagonal covariances
    assert frechet_distance(mean, 4 * eye, 0 * mean, 9 * eye) == pytest.approx(9 + 3 * 1)


def test_frechet_distance_is_the_matrix_square_root_formula():
    a, b = (
        torch.randn(50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(s)) for s in (1, 2)
    )
    expected = (
        (a.mean(0) - b.mean(0)).square().sum()
        + (a.T.cov() + b.T.cov()).trace()
        - 2 * sqrtm((a.T.cov() @ b.T.cov()).numpy()).real.trace()
    )
    got = frechet_distance(a.mean(0), a.T.cov(), b.mean(0), b.T.cov())
    assert got == pytest.approx(float(expected), abs=1e-9)


def test_a_set_has_no_distance_to_itself_and_batches_do_not_matter():
    real = pictures(40, 0)
    assert measured(real, real) == pytest.approx(0, abs=1e-9)
    assert measured(pictures(30, 1, 0.5), real, parts=7) == pytest.approx(
        measured(pictures(30, 1, 0.5), real)
    )


def test_a_singular_covariance_still_has_a_distance():
    assert measured(pictures(3, 1), pictures(3, 2)) > 0


def test_one_picture_is_refused():
    with pytest.raises(ValueError, match="at least 2 samples pictures, got 1"):
        measured(pictures(1, 0), pictures(5, 1))


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        measured(pictures(3, 0) / 0, pictures(5, 1))


def test_a_set_is_not_compared_with_itself():
    with pytest.raises(ValueError, match="two different sets"):
        FrechetDistance(Pixels(4), fake="train", real="train")


def test_accuracy_counts_what_the_judge_says():
    judge = Judge(channels=1, num_classes=3, size=8, width=4, feature_dim=4).eval()
    images = torch.randn(12, 1, 8, 8)
    said = judge.logits(images).argmax(1)
    wanted = torch.where(torch.arange(12) < 9, said, (said + 1) % 3)
    metric = ClassAccuracy(judge)
    for i in (slice(0, 5), slice(5, 12)):
        metric.update("samples", images[i], wanted[i])
    report = metric.report()
    assert report["value"] == 9 / 12
    assert report["n"] == 12
    assert report["interval"][0] < 0.75 < report["interval"][1]


def test_wilson_interval_of_ten_in_ten():
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)  # 1 / (1 + 1.96^2 / 10)
    assert wilson(0, 10)[0] == 0


def test_metric_states_stay_float64():
    metric = FrechetDistance(Pixels(4))
    assert metric.fake_outer.dtype == torch.float64
