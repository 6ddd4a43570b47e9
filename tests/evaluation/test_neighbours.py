"""Precision, recall, density, coverage and memorisation, on sets whose answer can be counted by hand."""

import numpy as np
import pytest
import torch

from condiff.evaluation import distances
from condiff.evaluation.distances import nearest
from condiff.evaluation.memorisation import Memorisation
from condiff.evaluation.precision_recall import PrecisionRecall, manifolds
from tests.evaluation.pictures import Pixels, drawn, seeded, shown


def by_hand(fake, real, k, dense_k):
    """The definitions, with whole matrices in numpy."""

    def apart(a, b):
        return np.sqrt(np.square(a[:, None] - b[None]).sum(2))

    def ball(a, k):
        return np.sort(apart(a, a), axis=1)[:, k]  # the first is the picture itself

    cross = apart(fake, real)
    dense = ball(real, dense_k)
    return {
        "precision": (cross <= ball(real, k)).any(1).mean(),
        "recall": (cross <= ball(fake, k)[:, None]).any(0).mean(),
        "density": (cross <= dense).sum() / (dense_k * len(fake)),
        "coverage": (cross <= dense).any(0).mean(),
    }


def measured(fake, real, **options):
    metric = PrecisionRecall(Pixels(fake.shape[1]), **options)
    return {name: float(value) for name, value in shown(metric, samples=fake, train=real).compute().items()}


@pytest.mark.parametrize("elements", [2**24, 150])
def test_they_are_their_definitions_whatever_the_blocks(monkeypatch, elements):
    monkeypatch.setattr(distances, "_ELEMENTS", elements)
    fake, real = drawn(60, 3, 0, 0.1), drawn(50, 3, 1)
    expected = by_hand(fake.double().numpy(), real.double().numpy(), 3, 5)
    assert measured(fake, real) == pytest.approx(expected, abs=1e-12)
    assert 0 < expected["precision"] < 1
    assert 0 < expected["coverage"] < 1


LINE = torch.arange(10).double()[:, None] / 10  # a picture every tenth: a ball of k=1 reaches to the next


def test_copies_of_the_data_have_everything_and_pictures_far_away_nothing():
    both = measured(LINE, LINE, neighbours=1, dense_neighbours=1)
    assert both["precision"] == both["recall"] == both["coverage"] == 1
    assert measured(LINE * 0.01 - 0.9, LINE) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_half_of_the_data_is_precise_and_recalls_half():
    fake = LINE[:5] + 0.01
    seen = measured(fake, LINE, neighbours=1, dense_neighbours=1)
    assert seen["precision"] == 1
    # balls of .1 around .01 to .41 hold the pictures at 0 to .5
    assert seen["recall"] == pytest.approx(0.6)
    assert seen["coverage"] == pytest.approx(0.6)  # the picture at .5 reaches back to .41
    # each fake one lies in the balls of its left and right neighbours, whose reach is .1
    assert seen["density"] == pytest.approx(2.0)


def test_an_outlier_among_the_real_pictures_hurts_precision_and_not_density():
    """Naeem 2020, fig. 3: one far real picture has a ball that holds everything in between."""
    real = torch.cat([drawn(100, 2, 0, width=0.02), torch.full((1, 2), 0.9)])
    fake = drawn(100, 2, 1, shift=0.45, width=0.02)
    seen = measured(fake, real)
    assert seen["precision"] == 1
    assert seen["density"] == pytest.approx(1 / 5)


def test_of_one_kind_density_is_one_and_coverage_what_five_neighbours_expect():
    """E coverage = 1 - (n-1)...(n-k) / ((2n-1)...(2n-k)) (Naeem 2020, lemma 2)."""
    n, k = 400, 5
    found = [measured(drawn(n, 3, s), drawn(n, 3, s + 100)) for s in range(8)]
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    assert np.mean([f["coverage"] for f in found]) == pytest.approx(expected, abs=0.01)
    assert np.mean([f["density"] for f in found]) == pytest.approx(1, abs=0.03)


def test_each_has_its_own_line_and_those_over_samples_an_interval():
    entries = shown(PrecisionRecall(Pixels(3)), samples=drawn(90, 3, 0), train=drawn(50, 3, 1)).entries(
        "prdc"
    )
    assert list(entries) == ["prdc_precision", "prdc_recall", "prdc_density", "prdc_coverage"]
    for name, entry in entries.items():
        assert entry["n"] == 90
        assert (entry["interval"] is not None) == (name in ("prdc_precision", "prdc_density"))
    low, high = entries["prdc_density"]["interval"]
    assert low < entries["prdc_density"]["value"] < high


def test_more_neighbours_than_pictures_are_refused():
    with pytest.raises(ValueError, match="PrecisionRecall needs at least 6 samples pictures, got 5"):
        measured(drawn(5, 3, 0), drawn(50, 3, 1))


def test_the_nearest_is_found_and_a_copy_is_at_zero_exactly():
    x, y = drawn(30, 8, 0, 0.8), drawn(500, 8, 1, 0.8)
    x[4] = y[321]
    apart, index = nearest(x, y)
    expected = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist").min(1)
    assert index.equal(expected.indices)
    assert apart == pytest.approx(expected.values, rel=1e-9)
    assert apart[4] == 0


def test_fresh_pictures_are_as_near_as_training_pictures_are_to_each_other():
    shares = []
    for seed in range(8):
        metric = Memorisation(Pixels(3), quantile=0.2)
        shown(metric, samples=drawn(800, 3, seed), train=drawn(800, 3, seed + 100))
        shares.append(float(metric.compute()["share"]))
    assert np.mean(shares) == pytest.approx(0.2, abs=0.02)


def test_authenticity_asks_the_training_picture_and_not_the_mean_of_all():
    """A pair at .0 and .01, and pictures far apart: .05 is near beside these and far beside those."""
    train = torch.tensor([[0.0], [0.01], [-0.9], [0.4], [0.8]])
    metric = shown(
        Memorisation(Pixels(1)), samples=torch.tensor([[-0.05], [0.45], [0.75], [0.35]]), train=train
    )
    assert float(metric.compute()["authenticity"]) == 0.25


def test_on_a_line_two_in_three_are_nearest_to_the_one_they_are_nearest_to():
    """The others are what authenticity counts."""
    line = torch.rand(12_000, 1, generator=seeded(0)) * 2 - 1
    metric = shown(Memorisation(Pixels(1)), samples=line[:3000], train=line[3000:])
    assert float(metric.compute()["authenticity"]) == pytest.approx(1 / 3, abs=0.03)


def test_copies_are_told_in_proportion():
    real = drawn(400, 3, 0)
    fake = torch.cat([real[:30], real[100:170] + 0.5])
    entries = shown(Memorisation(Pixels(3)), samples=fake, train=real).entries("memorisation")
    assert entries["memorisation"]["value"] == pytest.approx(0.3)
    low, high = entries["memorisation"]["interval"]
    assert low < 0.3 < high
    assert entries["memorisation_authenticity"]["value"] == pytest.approx(0.7)


def test_a_copy_counts_even_where_training_pictures_are_doubles_of_each_other():
    real = drawn(50, 3, 0).repeat(2, 1)
    metric = shown(Memorisation(Pixels(3)), samples=real[:10], train=real)
    assert float(metric.compute()["share"]) == 1


def test_balls_are_those_of_each_set():
    seen = manifolds(LINE[:4], LINE + 0.05, 1, 2)
    assert seen.precise.tolist() == [True] * 4
    assert seen.recalled.tolist() == [True] * 4 + [False] * 6
