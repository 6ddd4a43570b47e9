"""Parts of captions come in an order of their own, whoever is beside them."""

from collections import Counter

import torch

from condiff.data.shuffled import can_be_shuffled, shuffled
from condiff.diffusion.randomness import Draws

TEXTS = ["sks dog, sofa,evening , grain", "a, b", "a cat", "x, y, z"]


def of(step, texts=TEXTS, place=None, keep=1):
    places = torch.arange(len(TEXTS)) if place is None else torch.tensor(place)
    return shuffled(texts, keep, Draws(7, step, len(TEXTS), places).uniform)


def test_the_first_parts_stay_and_no_word_is_lost():
    for step in range(20):
        for text, found in zip(TEXTS, of(step), strict=True):
            first, *rest = [part.strip() for part in text.split(",")]
            own_first, *own_rest = found.split(", ")
            assert (own_first, sorted(own_rest)) == (first, sorted(rest))


def test_a_caption_of_no_two_parts_that_may_move_stays_as_it_is():
    assert of(3, keep=4) == TEXTS
    assert of(3)[1:3] == TEXTS[1:3]
    assert [can_be_shuffled(text, 1) for text in TEXTS] == [True, False, False, True]


def test_every_order_is_as_likely():
    orders = Counter(of(step, keep=0)[3] for step in range(1200))
    assert len(orders) == 6
    assert max(abs(count - 200) for count in orders.values()) < 60  # 4.6 standard deviations


def test_an_order_is_of_the_step_and_the_place_alone():
    whole = [of(step) for step in range(8)]
    assert len({tuple(texts) for texts in whole}) > 4
    for step, texts in enumerate(whole):
        assert of(step, TEXTS[:1], [0]) + of(step, TEXTS[1:], [1, 2, 3]) == texts
