"""Skeletons of digits as hints, and pictures as thick as their class."""

import numpy as np
import pytest
import torch

from condiff.data.digit_skeletons import DigitSkeletons
from condiff.evaluation.redetected import SkeletonFidelity, ThicknessError
from condiff.scenes.thinning import drawn


@pytest.fixture(scope="module")
def source():
    return DigitSkeletons(held_out_per_class=2)


@pytest.fixture(scope="module")
def held_out(source):
    return [*source.examples("held_out")]


def test_each_hint_is_there_with_both_labels_and_the_pictures_have_their_pens(source, held_out):
    info = source.info()
    assert (len(held_out), info.num_held_out, info.num_train) == (40, 40, 9960)
    assert (info.control, info.class_names) == (1, ["thin", "thick"])
    for thin, thick in zip(held_out[::2], held_out[1::2], strict=True):
        assert (thin.label, thick.label) == (0, 1)
        assert np.array_equal(thin.control, thick.control)
        assert {*np.unique(thin.control)} == {0, 255}
        for example, width in ((thin, 1.5), (thick, 3.5)):
            assert np.array_equal(example.image, np.rint(255 * drawn(example.control > 0, width)))
    with pytest.raises(ValueError, match=r"DigitSkeletons\.thin must be below thick=2, got 3"):
        DigitSkeletons(thin=3, thick=2)


def measured(metric, samples, held_out):
    metric.update("samples", samples, None)
    metric.update("targets", pictures([e.image for e in held_out]), None)
    if "controls" in metric.sides:
        metric.update("controls", pictures([e.control for e in held_out]), None)
    return {name: entry["value"] for name, entry in metric.entries("x").items()}


def pictures(arrays):
    return torch.from_numpy(np.stack(arrays))[:, None].float() / 127.5 - 1


def test_who_obeys_both_is_told_from_who_ignores_the_label_and_from_who_ignores_the_hint(held_out):
    images = pictures([e.image for e in held_out])
    other_label, other_hint = images.unflatten(0, (-1, 2)).flip(1).flatten(0, 1), images.roll(2, 0)
    right, unlabelled, unhinted = (
        [measured(metric(), samples, held_out) for metric in (SkeletonFidelity, ThicknessError)]
        for samples in (images, other_label, other_hint)
    )
    assert right[0]["x"] == right[0]["x_real"] > 0.95
    assert right[0]["x_shuffled"] < 0.65
    assert right[1]["x"] == right[1]["x_real"] == 0
    assert right[1]["x_shuffled"] > 1
    assert unlabelled[0]["x"] == pytest.approx(right[0]["x"], abs=0.05)
    assert unlabelled[1]["x"] > 2
    assert unhinted[0]["x"] < 0.65
    assert unhinted[1]["x"] < 0.7
