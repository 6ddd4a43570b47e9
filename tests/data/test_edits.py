"""Digits and what an edit makes of them."""

from typing import get_args, get_type_hints

import numpy as np

from condiff.data.dataset import ShardDataset
from condiff.data.edits import EDITS, Edits
from condiff.data.prepare import prepare

CORNER = np.zeros((5, 5), np.uint8)
CORNER[1, 1], CORNER[1, 2] = 200, 100


def test_each_edit_does_what_its_name_says():
    made = {name: edit(CORNER) for name, edit in EDITS.items()}
    assert np.array_equal(made["keep"], CORNER)
    assert made["mirror"][1].tolist() == [0, 0, 100, 200, 0]
    assert made["turn"][:, 1].tolist() == [0, 0, 100, 200, 0]
    assert made["thicken"].tolist() == [[200, 200, 200, 100, 0]] * 3 + [[0] * 5] * 2
    assert not made["thin"].any()
    assert made["outline"][1].tolist() == [200, 0, 100, 100, 0]


def test_a_picture_is_its_source_edited_pixel_for_pixel_in_the_same_crop():
    edits = Edits(size=32, held_out_per_class=1)
    examples = list(edits.examples("held_out"))
    assert len(examples) == edits.info().num_held_out == 20
    for example in examples:
        assert np.array_equal(example.image, EDITS[[*EDITS][example.label]](example.source))
        assert example.source.shape == (32, 32)
    assert len({example.label for example in examples}) == len(EDITS)


def test_no_digit_is_on_both_sides_of_the_split():
    edits = Edits(size=28, held_out_per_class=50)
    names = {
        split: {e.key.rsplit("-", 1)[0] for e in edits.examples(split)} for split in ("train", "held_out")
    }
    assert not names["train"] & names["held_out"]
    assert len(names["train"]) == 4500


def test_as_many_edits_of_a_digit_may_be_had_as_there_are():
    (most,) = (r.high for r in get_args(get_type_hints(Edits.__init__, include_extras=True)["per_digit"])[1:])
    assert most == len(EDITS)


def test_sources_come_back_beside_their_pictures(tmp_path):
    edits = Edits(size=28, held_out_per_class=1)
    assert prepare(edits, tmp_path).has_source
    batch = next(ShardDataset(tmp_path, "held_out").chunks(20))
    for i, example in enumerate(edits.examples("held_out")):
        assert np.array_equal(np.rint((batch["source"][i, 0].numpy() + 1) * 127.5), example.source)
        assert np.array_equal(np.rint((batch["image"][i, 0].numpy() + 1) * 127.5), example.image)
