"""From captions beside pictures to what samples are asked for: no caption ever leaves its picture."""

from functools import partial
from itertools import islice
from shutil import copytree

import pytest
import torch

from condiff.conditioners.label import ClassLabel
from condiff.conditioners.several import Several
from condiff.conditioners.text import Text
from condiff.data.batches import Batches
from condiff.data.captions import as_bytes, captions_of
from condiff.data.dataset import ShardDataset
from condiff.data.prepare import prepare
from condiff.data.shapes import Shapes
from condiff.errors import DataError
from condiff.files import read_json, write_json
from condiff.stages import texts
from condiff.stages.asked import asked, condition_of
from condiff.stages.stage import Artifact, Runtime
from tests.conditioners.test_text import Spelt, letters

NOTHING = {"text": None, "label": None}


class Long(Spelt):
    length = 100


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Shapes, and the encodings of all of their captions."""
    root = tmp_path_factory.mktemp("texts")
    (root / "data").mkdir()
    prepare(Shapes(num_train=60, num_held_out=12), root / "data")
    data, encoder, out = Artifact("data", root / "data", {}), Long(), root / "texts"
    out.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(texts, "built_conditioner", lambda *_, **__: Text(encoder, 30, with_null=True))
        texts.encode({"conditioner": {}}, {"data": data}, Runtime(accelerator="cpu"), out)
    return data, Artifact("texts", out, {}), encoder


def conditioner_of(artifact):
    conditioner = Text(Long(), 30, with_null=True)
    conditioner.recall(artifact.path)
    return conditioner


def test_every_caption_of_both_splits_and_the_empty_one_are_encoded_once(made):
    data, artifact, encoder = made
    shapes = Shapes(num_train=60, num_held_out=12)
    every = [example.text for split in ("train", "held_out") for example in shapes.examples(split)]
    assert encoder.asked == [*dict.fromkeys(["", *every])]
    conditioner = conditioner_of(artifact)
    for split in ("train", "held_out"):
        conditioner(next(ShardDataset(data.path, split).chunks(60)))
    assert conditioner.encoder.asked == []


def test_a_caption_follows_its_picture_through_shuffled_batches_and_dropout(made):
    data, artifact, _ = made
    train, conditioner, seen = ShardDataset(data.path, "train"), conditioner_of(artifact), set()
    own = {example.key: example.text for example in Shapes(num_train=60, num_held_out=12).examples("train")}
    for rows in islice(Batches([[60]], 20, seed=1), 9):
        batch = train.__getitems__(rows)
        u = torch.linspace(0, 0.99, 20)
        cond, _ = conditioner.dropped(batch, lambda _, u=u: u, 0.25)
        said = letters(cond.tokens, cond.token_mask)
        kept = [key for key, draw in zip(batch["key"], u.tolist(), strict=True) if draw >= 0.25]
        assert said[:5] == ["<>"] * 5
        assert said[5:] == [f"<{own[key]}>" for key in kept]
        seen |= {*kept}
    assert len(seen) > 40


def test_samples_are_asked_for_held_out_captions_in_turn_or_for_what_is_named(made):
    data, artifact, _ = made
    conditioner = conditioner_of(artifact)
    held_out = [example.text for example in Shapes(num_train=60, num_held_out=12).examples("held_out")]
    found = asked({"num_samples": 15, **NOTHING}, data, conditioner)
    assert captions_of(found) == [*held_out, *held_out[:3]]
    named = asked({"num_samples": 3, **NOTHING, "text": ["ein Kreis", "ünïcode ☃"]}, data, conditioner)
    assert captions_of(named) == ["ein Kreis", "ünïcode ☃", "ein Kreis"]
    one = asked({"num_samples": 2, **NOTHING, "text": ""}, data, conditioner)
    assert captions_of(one) == ["", ""]


def test_captions_are_bytes_in_a_file_of_samples_and_come_back():
    said = ["a red circle", "", "größer\0 ☃"]
    stored = {"text": as_bytes(said)}
    assert captions_of(stored) == ["a red circle", "", "größer ☃"]
    assert captions_of({"text": torch.from_numpy(stored["text"])[1:]}) == ["", "größer ☃"]
    assert captions_of({"label": 1}) is None
    assert as_bytes([]).shape == (0, 1)


def test_a_negative_text_stands_where_nothing_is_asked_for_and_nowhere_else(made):
    _, artifact, _ = made
    conditioner = conditioner_of(artifact)
    part = {"label": torch.arange(3), "text": torch.from_numpy(as_bytes(["a", "b", "c"]))}
    plain = condition_of(conditioner, part, 0, {"scale": 2.0})
    assert letters(plain.without().tokens, plain.without().token_mask) == ["<>"] * 3
    cond = condition_of(conditioner, part, 0, {"scale": 2.0, "negative": "blurry"})
    assert letters(cond.tokens, cond.token_mask) == ["<a>", "<b>", "<c>"]
    assert letters(cond.without().tokens, cond.without().token_mask) == ["<blurry>"] * 3
    assert torch.equal(cond.without().pooled, conditioner({**part, "text": ["blurry"] * 3}).pooled)


def test_negatives_of_their_own_go_with_the_place_of_a_sample_whatever_its_batch(made):
    _, artifact, _ = made
    conditioner = conditioner_of(artifact)
    part = {"label": torch.arange(2), "text": torch.from_numpy(as_bytes(["a", "b"]))}
    cond = condition_of(conditioner, part, 3, {"negative": ["x", "y", "z"]})
    assert letters(cond.without().tokens, cond.without().token_mask) == ["<x>", "<y>"]
    cond = condition_of(conditioner, part, 2, {"negative": ["x", "y", "z"]})
    assert letters(cond.without().tokens, cond.without().token_mask) == ["<z>", "<x>"]


def test_a_negative_text_leaves_the_null_of_other_parts_alone():
    parts = {"label": ClassLabel, "text": partial(Text, encoder=Long())}
    conditioner = Several(parts, num_classes=4, with_null=True)
    part = {"label": torch.arange(2), "text": torch.from_numpy(as_bytes(["a", "b"]))}
    free = condition_of(conditioner, part, 0, {"negative": "bad"}).without()
    assert free.label.tolist() == [4, 4]
    assert letters(free.tokens, free.token_mask) == ["<bad>"] * 2


@pytest.mark.parametrize("caption", ["a cat on the left", "Left of it, a tree", "a leftmost door"])
def test_mirrored_pictures_are_refused_where_captions_would_then_be_wrong(caption):
    with pytest.raises(
        DataError, match=r"data\.mirror: must be false where captions say left or right, as '"
    ):
        texts.refuse_sided(["a cat", caption])


def test_mirrored_pictures_may_have_captions_that_are_right_of_both():
    texts.refuse_sided(["a cat at the top", "a bright lamp", "an upright leftover"])


def test_mirrored_data_are_looked_at_before_their_captions_are_encoded(made, tmp_path):
    data, *_ = made
    copytree(data.path, tmp_path / "data")
    described = read_json(tmp_path / "data" / "data.json")
    write_json(tmp_path / "data" / "data.json", {**described, "mirror": True})
    with pytest.raises(DataError, match=r"data\.mirror: "):
        texts.encode({}, {"data": Artifact("data", tmp_path / "data", {})}, Runtime(), tmp_path)
