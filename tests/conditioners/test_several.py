"""Several conditions at once: what is joined, and how often which of them is not asked for."""

from functools import partial

import pytest
import torch

from condiff.conditioners.encodings import Place
from condiff.conditioners.label import ClassLabel
from condiff.conditioners.several import Several
from condiff.conditioners.text import Text
from condiff.diffusion.randomness import Draws
from tests.conditioners.test_text import Spelt, letters

N, SHARE = 2000, 0.2
SPREAD = 4 * (SHARE * (1 - SHARE) / (10 * N)) ** 0.5


class Wide(Spelt):
    width = 3

    def __call__(self, texts, place="cpu"):
        return [type(one)(one.tokens[:, [0, 1, 1]], one.pooled[[0, 1, 1]]) for one in super().__call__(texts)]


class Halved(Spelt):
    """Whose two halves, of letters and of ones, are kept apart."""

    def places(self):
        every = slice(None)
        return {"letters": Place(every, slice(1), slice(1)), "ones": Place(every, slice(1, 2), slice(1, 2))}


def several(dropout, with_null=True, **parts):
    parts = parts or {"label": ClassLabel, "text": partial(Text, encoder=Spelt())}
    return Several(parts, num_classes=3, with_null=with_null, dropout=dropout)


def batch(n=4):
    return {"label": torch.arange(n) % 3, "text": ["red", "blue"] * (n // 2), "place": torch.arange(n)}


def rates(dropout, **parts):
    """Over ten steps, the share of samples that lack each part, and all, as the condition says it."""
    conditioner, lacking = several(dropout, **parts), {}
    for step in range(10):
        cond, told = conditioner.dropped(batch(N), Draws(0, step, N, slice(None)).uniform, SHARE)
        found = {"label": cond.label == 3} if "label" in conditioner.parts else {}
        if "text" in conditioner.parts:
            found["text"] = cond.token_mask.sum(1) == 2
        for name, which in found.items():
            assert torch.equal(told[name], which)
        for name, which in {**told, "all": torch.stack([*told.values()]).all(0)}.items():
            lacking.setdefault(name, []).append(which)
    return {name: float(torch.cat(which).float().mean()) for name, which in lacking.items()}


def test_jointly_all_are_dropped_or_none():
    found = rates("joint")
    assert found["label"] == found["text"] == found["all"] == pytest.approx(SHARE, abs=SPREAD)


@pytest.mark.parametrize(("dropout", "share_of_all"), [("joint", SHARE), ("independent", SHARE**3)])
def test_a_text_whose_encoders_are_dropped_each_for_itself_is_dropped_whole_where_all_are(
    dropout, share_of_all
):
    parts = {"label": ClassLabel, "halves": partial(Text, encoder=Halved(), dropout="independent")}
    found = rates(dropout, **parts)
    assert [*found] == ["label", "halves.letters", "halves.ones", "all"]
    assert [*found.values()] == pytest.approx([SHARE] * 3 + [share_of_all], abs=SPREAD)


def test_independently_each_is_dropped_by_a_draw_of_its_own():
    found = rates("independent")
    assert found["label"] == pytest.approx(SHARE, abs=SPREAD)
    assert found["text"] == pytest.approx(SHARE, abs=SPREAD)
    assert found["all"] == pytest.approx(SHARE**2, abs=SPREAD)


def test_exclusively_one_is_dropped_or_the_other_or_all_each_as_often():
    found = rates("exclusive")
    assert found["label"] == pytest.approx(2 * SHARE, abs=2 * SPREAD)
    assert found["text"] == pytest.approx(2 * SHARE, abs=2 * SPREAD)
    assert found["all"] == pytest.approx(SHARE, abs=SPREAD)
    assert several("exclusive").most_dropped == pytest.approx(1 / 3)
    assert several("joint").most_dropped == 1


def test_encoders_of_one_text_are_dropped_each_for_itself_and_stand_one_after_another():
    parts = {"narrow": partial(Text, encoder=Spelt()), "wide": partial(Text, encoder=Wide())}
    found = rates("independent", **parts)
    assert found["all"] == pytest.approx(SHARE**2, abs=SPREAD)
    conditioner = several("independent", **parts)
    cond = conditioner(batch(2))
    assert conditioner.token_width == 3
    assert conditioner.pooled_width == sum(part.pooled_width for part in conditioner.parts.values()) > 0
    assert cond.tokens.shape == (2, 24, 3)
    assert not cond.tokens[:, :12, 2].any()  # the narrow one, filled up
    assert cond.pooled.shape == (2, 5)
    kept, told = conditioner.dropped(batch(2), lambda name: torch.tensor([0.0, 1.0 * ("wide" in name)]), 0.5)
    assert letters(kept.tokens[:, :12], kept.token_mask[:, :12]) == ["<>", "<>"]
    assert letters(kept.tokens[:, 12:], kept.token_mask[:, 12:]) == ["<>", "<blue>"]
    assert {name: which.tolist() for name, which in told.items()} == {
        "narrow": [True, True],
        "wide": [True, False],
    }


def test_the_null_of_several_is_every_parts_own():
    cond = several("joint")(batch(2))
    free = cond.without()
    assert free.label.tolist() == [3, 3]
    assert letters(free.tokens, free.token_mask) == ["<>", "<>"]
    only_text = cond.without("tokens", "token_mask", "pooled")
    assert only_text.label.tolist() == [0, 1]
    with pytest.raises(ValueError, match="no null"):
        several("joint", with_null=False)(batch(2)).without()


def test_captions_are_kept_for_each_encoder(tmp_path):
    before, after = (
        several("joint", narrow=partial(Text, encoder=Spelt()), wide=partial(Text, encoder=Wide()))
        for _ in range(2)
    )
    before.encode(["red"], [], tmp_path, "cpu")
    after.recall(tmp_path)
    after({"text": ["red"], "place": torch.arange(1)})
    assert [part.encoder.asked for part in after.parts.values()] == [[], []]


def test_two_parts_of_one_kind_are_refused():
    with pytest.raises(ValueError, match=r"Several\.parts: 2 of them give a label; one may"):
        several("joint", a=ClassLabel, b=ClassLabel)(batch(2))
    with pytest.raises(ValueError, match=r"Several\.parts must be two or more, got \['a'\]"):
        several("joint", a=ClassLabel)
