"""What preparing shards with hints says of them, and shows."""

import logging
from dataclasses import replace

import numpy as np

from condiff.data.circles import Circles
from condiff.data.prepare import prepare
from condiff.stages.data_shown import data_figure
from condiff.stages.stage import Artifact


class SomeEmpty(Circles):
    """Every other hint is black."""

    def example(self, split, index):
        found = super().example(split, index)
        return replace(found, control=np.zeros_like(found.control)) if index % 2 else found


def test_hints_that_are_empty_are_counted_in_one_line_and_the_first_pictures_are_shown(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        prepare(SomeEmpty(num_train=5, num_held_out=4), tmp_path / "some")
        prepare(Circles(num_train=2, num_held_out=2), tmp_path / "all")
    (line,) = caplog.messages
    assert line.startswith("4 of 9 hints are empty: those of train-0000001, train-0000003, held_out-0000001")
    (figure,) = data_figure({"data": Artifact("k", tmp_path / "some", {})})
    assert figure.caption == "The first of train, each beside its hint and above its caption."
    sheet = np.asarray(figure.panels[0].image.convert("RGB"))
    first = Circles().example("train", 0)
    side, scale = first.image.shape[0], max(1, 128 // first.image.shape[0])
    assert np.array_equal(sheet[: side * scale : scale, : side * scale : scale], first.image)
    hint = sheet[: side * scale : scale, side * scale : 2 * side * scale : scale]
    assert np.array_equal(hint[..., 0], first.control)
