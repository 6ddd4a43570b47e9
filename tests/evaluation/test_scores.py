"""Accuracy, the use of the condition, inception score and Vendi score where they are known."""

import math

import numpy as np
import pytest
import torch

from condiff.evaluation.accuracy import ClassAccuracy
from condiff.evaluation.condition_check import ConditionUse
from condiff.evaluation.diversity import VendiScore
from condiff.evaluation.inception_score import InceptionScore, inception_score
from condiff.evaluation.judge import Judge
from tests.evaluation.pictures import Pixels, drawn, seeded, shown


def one_hot(classes, num):
    return torch.nn.functional.one_hot(torch.as_tensor(classes), num).float()


def test_accuracy_counts_what_the_judge_says():
    judge = Judge(channels=1, num_classes=3, size=8, width=4, feature_dim=4).eval()
    images = torch.rand(12, 1, 8, 8, generator=seeded(0)) * 2 - 1
    said = judge.logits(images).argmax(1)
    wanted = torch.where(torch.arange(12) < 9, said, (said + 1) % 3)
    metric = ClassAccuracy(judge)
    for i in (slice(0, 5), slice(5, 12)):
        metric.update("samples", images[i], wanted[i])
    report = metric.report()
    assert report["value"] == 9 / 12
    assert report["n"] == 12
    assert report["interval"][0] < 0.75 < report["interval"][1]


def use(said, asked, num=10):
    return shown(ConditionUse(Pixels(num)), samples=one_hot(said, num), label=torch.as_tensor(asked))


def test_the_fall_of_accuracy_is_the_mean_over_shuffled_labels():
    g = seeded(0)
    asked = torch.randint(4, (40,), generator=g)
    said = torch.where(torch.rand(40, generator=g) < 0.7, asked, torch.randint(4, (40,), generator=g))
    shuffled = np.mean(
        [float((said == asked[torch.randperm(40, generator=g)]).double().mean()) for _ in range(20_000)]
    )
    expected = float((said == asked).double().mean()) - shuffled
    assert float(use(said, asked).compute()) == pytest.approx(expected, abs=2e-3)


def test_a_condition_that_is_obeyed_is_used_and_one_that_is_ignored_is_said_to_be():
    asked = torch.arange(300) % 10
    obeyed = use(asked, asked).report()
    assert obeyed["value"] == pytest.approx(0.9)
    assert "do not depend" not in obeyed["protocol"]
    ignored = use(asked[torch.randperm(300, generator=seeded(1))], asked).report()
    assert ignored["interval"][0] < 0 < ignored["interval"][1]
    assert "do not depend" in ignored["protocol"]
    contrary = use(
        (asked + 1) % 10, asked
    ).report()  # always another class: worse than chance is no obedience
    assert contrary["interval"][1] < 0
    assert "do not depend" in contrary["protocol"]


def test_one_class_for_everything_uses_no_condition_however_often_it_is_right():
    asked = torch.cat([torch.zeros(90), torch.ones(10)]).long()
    assert float(use(torch.zeros(100).long(), asked).compute()) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("shares", [[0.2] * 5, [0.8, 0.2]])
def test_the_interval_of_the_fall_holds_the_expected_fall(shares):
    """Obeyed half of the time and else drawn alike, the fall is half of 1 - sum p^2."""
    expected = 0.5 * (1 - np.square(shares).sum())
    weights, values, held = torch.tensor(shares), [], []
    for seed in range(300):
        g = seeded(seed)
        asked, other = (torch.multinomial(weights, 200, replacement=True, generator=g) for _ in range(2))
        said = torch.where(torch.rand(200, generator=g) < 0.5, asked, other)
        report = use(said, asked).report()
        values.append(report["value"])
        held.append(report["interval"][0] <= expected <= report["interval"][1])
    assert np.mean(values) == pytest.approx(expected, abs=0.01)
    assert 0.92 <= np.mean(held) <= 0.98


def score(logits, splits=1, seed=0):
    metric = InceptionScore(Pixels(logits.shape[1]), splits=splits, seed=seed)
    return shown(metric, samples=logits)


def test_inception_score_of_sure_and_even_classes_is_their_number_and_of_unsure_ones_one():
    sure = (one_hot(torch.arange(100) % 10, 10).double() * 1e3).log_softmax(1)
    assert float(inception_score(sure)) == pytest.approx(10, rel=1e-9)
    assert float(inception_score(torch.full((100, 10), 0.1).double().log())) == pytest.approx(1, rel=1e-9)
    assert float(inception_score(sure[:1].expand(50, 10))) == pytest.approx(1, rel=1e-9)


def test_inception_score_is_the_mean_divergence_from_the_marginal():
    logits = drawn(200, 6, 0, width=0.3)
    p = np.exp(10 * logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    q = p.mean(0)
    expected = math.exp(np.mean([sum(row * np.log(row / q)) for row in p]))
    assert float(score(logits).compute()) == pytest.approx(expected, rel=1e-6)


def test_splits_are_tenths_drawn_by_the_seed():
    logits = drawn(205, 6, 0, width=0.3)
    ten = score(logits, splits=10).entries("is")
    assert ten["is_std"]["value"] > 0
    assert 1 < ten["is"]["value"] < 6
    assert score(logits, splits=10).entries("is") == ten
    assert score(logits, splits=10, seed=1).entries("is") != ten
    with pytest.raises(ValueError, match="needs at least 10 samples pictures, got 9"):
        score(logits[:9], splits=10).compute()


def vendi(features, parts=1):
    return float(shown(VendiScore(Pixels(features.shape[1])), parts, samples=features).compute())


@pytest.mark.parametrize("k", [1, 2, 7])
def test_vendi_score_of_k_pictures_with_nothing_in_common_is_k(k):
    assert vendi(one_hot(torch.arange(5 * k) % k, 8) * 0.5) == pytest.approx(k, rel=1e-9)


def test_vendi_score_is_the_entropy_of_the_kernel_between_pictures():
    features = drawn(30, 50, 0)  # more features than pictures, and the other way round
    for x in (features, features[:, :5]):
        unit = x.double().numpy()
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        shares = np.linalg.eigvalsh(unit @ unit.T / len(unit))
        shares = shares[shares > 1e-14]
        assert vendi(x, parts=4) == pytest.approx(math.exp(-np.sum(shares * np.log(shares))), rel=1e-6)


def test_unequal_shares_count_by_their_entropy():
    features = one_hot([0, 0, 0, 1], 2) * 0.3
    assert vendi(features) == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))
