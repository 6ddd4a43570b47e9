"""Circles with their outlines: what is drawn, and that a hint stays with its picture on the whole way."""

import numpy as np
import pytest
import torch

from condiff.data.circles import CAPTIONS, COLOURED, Circles
from condiff.data.dataset import ShardDataset
from condiff.data.prepare import members, prepare
from condiff.data.shards import ShardWriter
from condiff.data.source import DataInfo, Example
from condiff.diffusion.randomness import Draws
from condiff.errors import DataError
from condiff.methods.method import mirrored


def test_colours_are_those_of_the_caption_and_the_outline_is_the_discs():
    circles = Circles()
    for index in range(8):
        example = circles.example("train", index)
        one, other = (np.array(COLOURED[word]) for word in CAPTIONS[example.label].split()[::3])
        assert example.text == CAPTIONS[example.label]
        is_disc, is_ground = (example.image == one).all(2), (example.image == other).all(2)
        assert is_disc.sum() > 30
        assert is_ground[0].all()
        inner = is_disc & (example.control == 0)
        assert not (example.control[is_ground]).any()  # none of it is outside
        around = np.argwhere(example.control > 200)
        middle = np.argwhere(inner).mean(0)
        radii = np.linalg.norm(around - middle, axis=1)
        assert np.ptp(radii) < 2.0
        assert radii.mean() == pytest.approx((is_disc.sum() / np.pi) ** 0.5, abs=1)


def test_a_picture_belongs_to_its_seed_and_place():
    some, others = Circles(num_train=5), Circles(num_train=5, seed=1)
    again, theirs = Circles(num_train=9).example("train", 3), others.example("train", 3)
    assert np.array_equal(some.example("train", 3).image, again.image)
    assert not np.array_equal(again.control, theirs.control)
    assert some.fingerprint() != others.fingerprint()


@pytest.fixture
def marked(tmp_path):
    """A picture and its hint with one pixel each that is not black, in one place."""
    picture, hint = np.zeros((6, 6, 3), np.uint8), np.zeros((6, 6), np.uint8)
    picture[1, 4], hint[1, 4] = 255, 255
    return Example("marked", picture, control=hint)


def written(folder, *examples):
    with ShardWriter(folder, "train") as shards:
        for example in examples:
            shards.write(example.key, members(example))
    return ShardDataset(folder, "train")


def test_a_hint_is_mirrored_with_its_picture(marked, tmp_path):
    batch = written(tmp_path, marked).__getitems__([(0, place, 0) for place in range(16)])
    assert batch["control"].aminmax() == (0, 1)
    turned = mirrored(batch, Draws(0, 0, 16, batch["place"], torch.device("cpu")))
    where = [rows.flatten(1).argmax(1) % 6 for rows in (turned["image"][:, :1], turned["control"])]
    assert torch.equal(*where)
    assert {*where[0].tolist()} == {1, 4}


def test_a_missing_hint_is_told_by_the_name_of_its_sample(marked, tmp_path):
    alone = Example("alone", marked.image)
    with pytest.raises(DataError, match=r"train-000000\.tar:alone: has no \.control\.png, which others have"):
        written(tmp_path, marked, alone)


def test_the_prepared_set_says_that_it_has_hints(tmp_path):
    prepare(Circles(size=16, num_train=3, num_held_out=2), tmp_path)
    assert DataInfo.read(tmp_path).control == 1
    batch = next(ShardDataset(tmp_path, "held_out").chunks(2))
    assert batch["control"].shape == (2, 1, 16, 16)
    assert batch["text"][0].split()[1] == "circle"
