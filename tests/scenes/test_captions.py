"""What captions of shapes say, to and fro."""

from itertools import product

import pytest

from condiff.scenes.captions import named, parse, wordings
from condiff.scenes.scene import BACKGROUNDS, COLOURS, KINDS, PLACES, RELATIONS, SHAPES, SIZES, Scene, Thing


def things(sizes):
    return [Thing(colour, shape, size) for colour, shape, size in product(COLOURS, SHAPES, sizes)]


def alone():
    """Every scene of one thing, with all that can be left open."""
    for thing, place, ground in product(things([None, *SIZES]), [None, *PLACES], [None, *BACKGROUNDS]):
        yield Scene((thing,), place, None, ground)


def pairs(sizes=SIZES):
    for first, second in product(things(sizes), repeat=2):
        if first.colour != second.colour:
            for relation, ground in product(RELATIONS, [None, *BACKGROUNDS]):
                yield Scene((first, second), None, relation, ground)


@pytest.mark.parametrize(
    ("scenes", "count"),
    [
        (
            alone,
            90 * (10 + 3 * (3 + 9 * 4)),
        ),  # without background one wording, else three, or four with a place
        (pairs, 60 * 50 * 4 * (1 + 3 * 4)),
        (lambda: pairs([None]), 30 * 25 * 4 * (1 + 3 * 4)),
    ],
)
def test_every_caption_says_the_one_scene_that_it_is_of(scenes, count):
    said = {}
    for scene in scenes():
        for caption in wordings(scene):
            assert parse(caption) == scene, caption
            assert said.setdefault(caption, scene) == scene
    assert len(said) == count


def test_captions_read_as_they_are_written():
    assert wordings(Scene((Thing("red", "circle", "large"),), "top left", None, "white")) == [
        "a large red circle in the top left on white",
        "a large red circle in the top left on a white background",
        "on white, a large red circle in the top left",
        "a large red circle on white, in the top left",
    ]
    two = Scene((Thing("blue", "square", "small"), Thing("green", "cross")), None, "to the left of", None)
    assert wordings(two) == ["a small blue square to the left of a green cross"]


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "red circle",
        "a red",
        "a circle red",
        "a huge red circle",
        "a mauve circle",
        "a red  circle",
        "A red circle",
        "a red circle on pink",
        "a red circle in the top",
        "a red circle at the top left",
        "a red circle above a blue square in the top left",
        "a red circle above",
        "a red circle beside a blue square",
        "on white, a red circle on black",
        "a red circle.",
        "a red circle\n",
    ],
)
def test_what_is_no_caption_is_refused(caption):
    with pytest.raises(ValueError, match="is no caption of shapes; write one such as"):
        parse(caption)


def test_a_few_words_name_attributes():
    assert named("red") == {"colour": "red"}
    assert named("circle") == {"shape": "circle"}
    assert named("small blue") == {"size": "small", "colour": "blue"}
    assert named("large red circle") == {"size": "large", "colour": "red", "shape": "circle"}
    assert named("top left") == {"place": "top left"}
    assert named("black") == {"background": "black"}
    every = [*COLOURS, *SHAPES, *SIZES, *PLACES, *BACKGROUNDS, *KINDS]
    assert all(named(words) for words in every)
    for words in ("", "mauve", "circle red", "red ", "red black"):
        with pytest.raises(ValueError, match="names no shape"):
            named(words)


def test_every_pair_of_colour_and_shape_is_a_kind_once():
    assert sorted(KINDS) == sorted(f"{colour} {shape}" for colour, shape in product(COLOURS, SHAPES))
