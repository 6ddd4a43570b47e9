"""What cannot be measured is refused in a sentence that names the metric."""

import pytest
import torch

from condiff.evaluation.accuracy import ClassAccuracy
from condiff.evaluation.condition_check import ConditionUse
from condiff.evaluation.diversity import VendiScore
from condiff.evaluation.frechet import FrechetDistance
from condiff.evaluation.frechet_infinity import FrechetInfinity
from condiff.evaluation.inception_score import InceptionScore
from condiff.evaluation.kernel import GaussianDistance, KernelDistance, SubsetKernelDistance
from condiff.evaluation.memorisation import Memorisation
from condiff.evaluation.pairwise import PairwiseDiversity
from condiff.evaluation.precision_recall import PrecisionRecall
from tests.evaluation.pictures import PixelDistance, Pixels, drawn

ALL = [
    ClassAccuracy, ConditionUse, FrechetDistance, FrechetInfinity, GaussianDistance, InceptionScore,
    KernelDistance, Memorisation, PairwiseDiversity, PrecisionRecall, SubsetKernelDistance, VendiScore,
]  # fmt: skip
PAIRS = [FrechetDistance, FrechetInfinity, GaussianDistance, KernelDistance, Memorisation, PrecisionRecall]
GOOD = torch.zeros(3, 1, 2, 2)
BAD = [
    (torch.zeros(3, 1, 2, 2, dtype=torch.uint8), r"floats in \[-1, 1\], got torch.uint8"),
    (torch.full((3, 1, 2, 2), 255.0), r"in \[-1, 1\], got 255 to 255"),
    (torch.full((3, 1, 2, 2), -1.1), r"in \[-1, 1\], got -1.1 to -1.1"),
    (GOOD.index_fill(0, torch.tensor(1), torch.nan), "finite"),
    (GOOD.index_fill(0, torch.tensor(2), torch.inf), "finite"),
    (GOOD.index_fill(0, torch.tensor(2), -torch.inf), "finite"),
    (torch.zeros(3, 2, 2), r"\[B, C, H, W\], got \[3, 2, 2\]"),
]
LABEL = torch.zeros(3, dtype=torch.long)


def made(metric):
    return metric(PixelDistance() if metric is PairwiseDiversity else Pixels(4))


@pytest.mark.parametrize(("images", "said"), BAD)
@pytest.mark.parametrize("metric", ALL)
def test_pictures_that_are_no_floats_between_minus_one_and_one_are_refused(metric, images, said):
    with pytest.raises(ValueError, match=f"{metric.__name__}: samples pictures must be .*{said}"):
        made(metric).update("samples", images, LABEL)


@pytest.mark.parametrize("metric", [FrechetDistance, KernelDistance, VendiScore])
def test_features_that_are_not_finite_or_of_another_size_are_refused(metric):
    class Broken(Pixels):
        def __call__(self, images):
            return super().__call__(images) / 0

    with pytest.raises(ValueError, match=f"{metric.__name__}: pixels features of the samples .* not finite"):
        metric(Broken(4)).update("samples", GOOD, None)
    with pytest.raises(ValueError, match=rf"{metric.__name__}: .* must be \[3, 5\], got \[3, 4\]"):
        metric(Pixels(5)).update("samples", GOOD, None)


def test_logits_that_are_not_finite_are_refused():
    class Broken(Pixels):
        def logits(self, images):
            return images.flatten(1) / 0

    with pytest.raises(ValueError, match="InceptionScore: pixels's logits of the samples are not finite"):
        InceptionScore(Broken(4)).update("samples", GOOD, None)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_pictures_are_refused(metric, n):
    asked = made(metric)
    for side in asked.sides:
        images = drawn(n if side == "samples" else 2000, 4, 0).reshape(-1, 1, 2, 2)
        if len(images):
            asked.update(side, images, torch.zeros(len(images), dtype=torch.long))
    with pytest.raises(ValueError, match=rf"{metric.__name__} needs at least \d+ samples pictures, got {n}"):
        asked.entries("metric")


@pytest.mark.parametrize("metric", [*PAIRS, SubsetKernelDistance])
def test_one_picture_to_compare_with_is_refused_too(metric):
    asked = metric(Pixels(4))
    asked.update("samples", drawn(2000, 4, 0).reshape(-1, 1, 2, 2), None)
    asked.update("train", GOOD[:1], None)
    with pytest.raises(ValueError, match=rf"{metric.__name__} needs at least \d+ train pictures, got 1"):
        asked.entries("metric")


@pytest.mark.parametrize("metric", PAIRS)
def test_a_set_is_not_compared_with_itself(metric):
    with pytest.raises(ValueError, match=f"{metric.__name__} compares two different sets, got 'train' twice"):
        metric(Pixels(4), fake="train", real="train")


@pytest.mark.parametrize("metric", [ClassAccuracy, ConditionUse])
def test_samples_without_labels_are_refused(metric):
    with pytest.raises(ValueError, match=f"{metric.__name__} needs labelled samples"):
        metric(Pixels(4)).update("samples", GOOD, None)


def test_a_picture_without_any_feature_has_no_direction():
    with pytest.raises(ValueError, match="VendiScore: pixels features of a samples picture are all zero"):
        VendiScore(Pixels(4)).update("samples", GOOD, None)


def test_half_precision_and_the_last_rounding_are_no_mistake():
    FrechetDistance(Pixels(4)).update("samples", GOOD.bfloat16() + 1, None)
    FrechetDistance(Pixels(4)).update("samples", GOOD + 1.0004, None)
