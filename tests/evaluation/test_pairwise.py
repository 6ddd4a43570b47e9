"""Pairs of one class, on pictures whose distances are known."""

import pytest
import torch

from condiff.evaluation.pairwise import PairwiseDiversity, disjoint_pairs
from tests.evaluation.pictures import PixelDistance, drawn, seeded, shown


def corners(n, dim, height=2.0):
    """[n, dim], any two of which are 2 height^2 apart."""
    return height * torch.eye(dim)[:n] - 1


def of(features, label=None, parts=1, **settings):
    return shown(PairwiseDiversity(PixelDistance(), **settings), parts, label, samples=features)


def test_a_class_of_one_picture_has_no_diversity_and_without_labels_there_is_some():
    features = torch.cat([torch.full((6, 4), -1.0), torch.ones(6, 4)])
    entry = of(features, torch.arange(12) // 6).report()
    assert (entry["value"], entry["interval"], entry["n"]) == (0, [0, 0], 12)
    entry = of(features).report()
    assert entry["value"] > 0
    assert entry["protocol"].endswith("; 6 pairs of pictures without labels")


def test_classes_of_known_distance_count_by_their_pairs():
    near, far = corners(7, 8, 0.4), corners(8, 8)  # 3 pairs and 4
    entry = of(torch.cat([near, far]), torch.tensor([0] * 7 + [1] * 8)).report()
    assert entry["value"] == pytest.approx((3 * 2 * 0.16 + 4 * 8) / 7, rel=1e-5)
    assert entry["n"] == 15
    assert entry["protocol"].endswith("; 7 pairs")


def test_classes_take_turns_until_there_are_enough_pairs():
    features = torch.cat([corners(8, 8, 0.4), corners(8, 8)])
    label = torch.arange(16) // 8
    for pairs in (2, 4, 6):
        metric = of(features, label, pairs=pairs)
        assert float(metric.compute()) == pytest.approx((0.32 + 8) / 2, rel=1e-5)
        assert f"; {pairs} pairs" in metric.report()["protocol"]


def test_a_pair_is_of_one_class_and_no_picture_is_in_two():
    label = torch.arange(31) % 4
    pairs = disjoint_pairs(torch.arange(31).byte().reshape(31, 1, 1, 1), label, seeded(0))
    assert pairs.shape == (15, 2)
    assert len(pairs.unique()) == 30
    assert label[pairs[:, 0]].equal(label[pairs[:, 1]])
    assert len(label[pairs[:4, 0]].unique()) == 4


def test_neither_order_nor_batches_change_it_and_the_seed_does():
    features, label = drawn(41, 6, 0), torch.arange(41) % 3
    expected = of(features, label, pairs=11).report()
    mixed = torch.randperm(41, generator=seeded(1))
    for parts in (1, 4, 41):
        assert of(features[mixed], label[mixed], parts, pairs=11).report() == expected
    assert of(features, label, pairs=11, seed=1).report()["value"] != expected["value"]


def test_copies_are_paired_like_any_other_pictures():
    """Over all pairs of 20 copies of one picture and 20 of another, 20 in 39 differ."""
    features = torch.cat([torch.full((20, 1), -1.0), torch.ones(20, 1)])
    values = torch.stack([of(features, seed=seed).compute() for seed in range(1000)])
    error = float(values.std()) / 1000**0.5
    assert float(values.mean()) == pytest.approx(4 * 20 / 39, abs=4 * error)
    assert error < 0.02


def test_the_interval_holds_the_expected_distance_in_95_of_100():
    held = 0
    for seed in range(400):
        low, high = of(drawn(240, 5, seed), torch.arange(240) % 3).report()["interval"]
        held += low <= 5 * 2 * 0.1**2 <= high
    assert 0.92 <= held / 400 <= 0.98


def test_one_pair_has_no_interval():
    assert of(corners(2, 2)).report()["interval"] is None


def test_pictures_without_a_second_of_their_class_are_refused():
    said = "PairwiseDiversity needs at least 2 samples pictures, got 3, no two of one class"
    with pytest.raises(ValueError, match=said):
        of(corners(3, 3), torch.arange(3)).report()


def test_a_distance_that_is_not_finite_is_refused():
    class Broken(PixelDistance):
        def __call__(self, x, y):
            return super().__call__(x, y) / 0

    with pytest.raises(ValueError, match="PairwiseDiversity: pixels between samples pictures is not finite"):
        shown(PairwiseDiversity(Broken()), samples=torch.zeros(4, 2)).report()


def test_no_pairs_at_all_are_refused():
    with pytest.raises(ValueError, match=r"PairwiseDiversity\.pairs must be >= 1, got 0"):
        PairwiseDiversity(PixelDistance(), pairs=0)


def test_what_is_kept_is_a_byte_a_value():
    metric = of(drawn(10, 6, 0))
    assert [part.dtype for part in metric.images] == [torch.uint8]
