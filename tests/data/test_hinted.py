"""Hints made of pictures, and found again in them."""

import numpy as np
import pytest
import torch

from condiff.data.detectors import Edges, Grey, LowRes, Strokes
from condiff.data.hinted import Hinted
from condiff.data.shapes import Shapes
from condiff.data.source import Example
from condiff.errors import DataError
from condiff.evaluation.paired import EdgeF1
from condiff.evaluation.redetected import CoarseError, EdgeFidelity, GreyFidelity, StrokeFidelity

COUNT = 12


def batch(arrays):
    rows = torch.stack([torch.from_numpy(np.atleast_3d(array)) for array in arrays])
    return rows.permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.mark.parametrize(
    ("detector", "metric", "best"),
    [
        (Edges(0.2), EdgeFidelity(0.2), 1),
        (Grey(), GreyFidelity(), 1),
        (LowRes(8), CoarseError(8), 0),
    ],
)
def test_a_hint_is_found_again_in_its_own_picture(detector, metric, best):
    source = Hinted(Shapes(num_train=2, num_held_out=COUNT), detector)
    examples = [*source.examples("held_out")]
    images, hints = batch(e.image for e in examples), batch(e.control for e in examples)
    assert hints.shape[1] == source.info().control
    for side, pictures in (("samples", images), ("targets", images), ("controls", hints)):
        metric.update(side, pictures, None)
    found = {name: entry["value"] for name, entry in metric.entries("x").items()}
    assert found["x"] == found["x_real"] == pytest.approx(best, abs=5e-3)
    assert abs(found["x_shuffled"] - best) > 0.1
    assert found["x_use"] > 0.1


def test_edges_are_those_of_the_metric_of_pairs():
    picture = Shapes().example("train", 0).image
    seen = EdgeF1(threshold=0.25).seen(batch([picture]).mean(1, keepdim=True).expand(-1, 3, -1, -1))
    grey = np.rint(picture.mean(2)).astype(np.uint8)
    own = Edges(0.25)(Example("one", grey))
    assert (torch.from_numpy(own > 0) ^ seen[0]).sum() <= 2  # rounding of a brightness


def test_a_step_has_its_edge_and_a_square_its_mean_colour():
    step = np.zeros((8, 8), np.uint8)
    step[:, 4:] = 255
    found = Edges()(Example("step", step))
    assert np.array_equal(found, np.tile([0, 0, 0, 255, 255, 0, 0, 0], (8, 1)))
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    squares = LowRes(4)(Example("one", picture))
    assert np.array_equal(squares[0, 0], np.rint(picture[:4, :4].mean((0, 1))))
    assert (squares[:4, :4] == squares[0, 0]).all()
    with pytest.raises(DataError, match=r"data\.detector\.factor: must divide the size 8, got 3"):
        LowRes(3)(Example("one", picture))


def test_strokes_are_those_that_the_source_brings():
    line = np.full((8, 8), 255, np.uint8)
    line[3] = 0
    example = Example("one", np.zeros((8, 8, 3), np.uint8), line=line)
    hint = Strokes()(example)
    assert np.array_equal(hint > 0, line == 0)
    metric = StrokeFidelity()
    assert torch.equal(metric.seen(batch([line, line])), metric.wanted((batch([hint, hint]) + 1) / 2))
    with pytest.raises(DataError, match=r"data: one has no lines; use .* line=true"):
        Strokes()(Example("one", line))


def test_another_detector_is_another_set():
    pictures = Shapes(num_train=2, num_held_out=2)
    prints = {
        Hinted(pictures, detector).fingerprint() for detector in (Edges(), Edges(0.3), Grey(), LowRes())
    }
    assert len(prints) == 4
