"""By how much samples resemble the answers to their own sources more than others, where it is known."""

import numpy as np
import pytest
import torch

from condiff.evaluation.condition_check import SourceUse
from tests.evaluation.pictures import drawn, seeded, shown

DIM = 5


def use(samples, targets, label):
    metric = shown(SourceUse(), 3, label, samples=samples)
    return shown(metric, 2, targets=targets)


def answers(n, seed, labels=3):
    """Targets of labels that are far apart, and the labels."""
    label = torch.randint(labels, (n,), generator=seeded(seed))
    return drawn(n, DIM, seed + 1000, 0.0, 0.1) + 0.2 * label[:, None], label


def test_each_sample_that_is_its_answer_is_one_and_of_the_label_alone_nothing():
    targets, label = answers(200, 0)
    obeyed = use(targets, targets, label).report()
    assert (obeyed["value"], obeyed["interval"]) == (pytest.approx(1), pytest.approx([1, 1]))
    assert "do not depend" not in obeyed["protocol"]
    by_label = torch.stack([targets[label == value].mean(0) for value in range(3)])
    ignored = use(by_label[label], targets, label).report()
    assert ignored["value"] == pytest.approx(0, abs=1e-6)
    assert "the samples do not depend on the source as far as this n shows" in ignored["protocol"]


def test_a_sample_of_another_source_of_its_label_ignores_its_own():
    targets, label = answers(300, 1)
    other = answers(300, 2)[0] + 0.2 * (label - answers(300, 2)[1])[:, None]
    report = use(other, targets, label).report()
    assert report["interval"][0] < 0 < report["interval"][1]
    assert "do not depend on the source" in report["protocol"]
    assert use(-targets, targets, torch.zeros(300).long()).report()["interval"][1] < 0  # it does the contrary


def test_the_error_is_compared_with_that_to_every_other_answer_of_the_label():
    """All shuffles that move each source of a label by as much, so that none stays where it is."""
    targets, label = answers(40, 3)
    samples = 0.5 * targets + 0.5 * drawn(40, DIM, 4, 0.2)
    samples[-1], label[-1] = 0.9, 3  # alone with its label, it is left out
    report, errors = use(samples, targets, label).report(), torch.zeros(40).double()
    for rows in ((label == value).nonzero()[:, 0] for value in range(3)):
        for turn in range(1, len(rows)):
            squares = (samples[rows] - targets[rows.roll(turn)]).double().square().mean(1)
            errors[rows] += squares / (len(rows) - 1)
    own = (samples - targets).double().square().mean(1)[:-1]
    assert report["value"] == pytest.approx(1 - float(own.mean() / errors[:-1].mean()), rel=1e-6)
    assert 0.1 < report["value"] < 0.9
    assert report["n"] == 39


@pytest.mark.parametrize("labels", [1, 3])
def test_of_sources_that_are_obeyed_half_of_the_time_half_is_left_and_the_interval_holds_it(labels):
    values, held = [], []
    for seed in range(300):
        targets, label = answers(150, seed, labels)
        other = drawn(150, DIM, seed + 5000, 0.0, 0.1) + 0.2 * label[:, None]
        obeys = torch.rand(150, 1, generator=seeded(seed + 9000)) < 0.5
        report = use(torch.where(obeys, targets, other), targets, label).report()
        values.append(report["value"])
        held.append(report["interval"][0] <= 0.5 <= report["interval"][1])
    assert np.mean(values) == pytest.approx(0.5, abs=0.01)
    assert 0.92 <= np.mean(held) <= 0.98


def test_what_cannot_be_shuffled_is_refused():
    targets = drawn(3, DIM, 0)
    with pytest.raises(ValueError, match="two different targets of one label, and there are none"):
        use(targets, targets, torch.arange(3)).compute()
    with pytest.raises(ValueError, match="two different targets of one label, and there are none"):
        use(drawn(4, DIM, 1), targets[:1].repeat(4, 1), torch.arange(4) % 2).compute()
    with pytest.raises(ValueError, match="SourceUse needs labelled samples"):
        SourceUse().update("samples", targets[:, None, None, :], None)
