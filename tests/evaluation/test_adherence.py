"""Adherence to captions and avoidance of what is negative, where the answer is known."""

import pytest
import torch

from condiff.data.shapes import Shapes
from condiff.evaluation.adherence import ATTRIBUTES, Adherence, Avoidance, agreement
from condiff.evaluation.intervals import wilson
from condiff.evaluation.shapes import Found, Reading
from condiff.scenes.captions import parse
from tests.evaluation.processes import some_shapes
from tests.evaluation.test_shapes import as_images, on

RED = ("red", "circle", 6, 6, 4.8)
BLUE = ("blue", "square", 24, 7, 3.2)
ASKED = "a large red circle in the top left on white"
TWO = "a large red circle to the left of a small blue square on white"


def measured(captions, *pictures, parts=1):
    metric = Adherence()
    metric.tell(captions)
    for some in as_images(pictures).tensor_split(parts):
        metric.update("samples", some, None)
    return metric


def found(metric, name="adherence"):
    return {key.removeprefix(name): entry["value"] for key, entry in metric.entries(name).items()}


def wrong(caption, *things, background="white"):
    """Which attributes of a caption a picture of these things lacks."""
    values = found(measured([caption] * 2, *[on(background, *things)] * 2))
    assert values.pop("") == (not any(value == 0 for value in values.values()))
    return {name[1:] for name, value in values.items() if value == 0}


def test_each_attribute_that_is_not_as_asked_is_told_alone():
    assert wrong(ASKED, RED) == set()
    assert wrong(ASKED, ("cyan", *RED[1:])) == {"colour"}
    assert wrong(ASKED, ("red", "diamond", 7.5, 7.5, 4.8)) == {"shape"}
    assert wrong(ASKED, (*RED[:4], 3.2)) == {"size"}
    assert wrong(ASKED, ("red", "circle", 25, 6, 4.8)) == {"place"}
    assert wrong(ASKED, RED, background="grey") == {"background"}
    assert wrong(ASKED, RED, BLUE) == {"count"}
    assert wrong(ASKED) == {"count", "colour", "shape", "size", "place"}


def test_two_things_are_found_whichever_stands_first_and_their_relation_is_told():
    for things in ((RED, BLUE), (BLUE, RED)):
        assert wrong(TWO, *things) == set()
        assert wrong("a small blue square to the right of a large red circle on white", *things) == set()
        assert wrong("a small blue square to the left of a large red circle", *things) == {"relation"}
        assert wrong("a large red circle above a small blue square", *things) == {"relation"}
    exchanged = [("blue", "circle", *RED[2:]), ("red", "square", *BLUE[2:])]
    assert wrong("a red circle to the left of a blue square", *exchanged)
    assert wrong(TWO, RED) == {"count", "colour", "shape", "size", "relation"}
    assert wrong("a red circle to the left of a red square", RED, ("red", *BLUE[1:])) == set()


def test_things_are_paired_so_that_most_agrees():
    things = [
        Found("green", "cross", "small", "top", 16, 5),
        Found("red", "square", "large", "left", 5, 16),
        Found("red", "circle", "large", "right", 27, 14),
    ]
    reading = Reading("black", tuple(things))
    assert agreement(parse("a red circle"), reading) == {"count": False, "colour": True, "shape": True}
    pair = agreement(parse("a green cross to the left of a red circle"), reading)
    assert pair == {"count": False, "colour": True, "shape": True, "relation": True}
    assert not agreement(parse("a red circle below a green cross"), reading)["relation"]
    assert not any(agreement(parse(TWO), Reading(None)).values())


def test_shares_and_intervals_are_those_of_the_samples_that_were_asked():
    pictures = [on("white", RED), on("white", ("cyan", *RED[1:])), on("white", RED, BLUE), on("white")]
    metric = measured([ASKED, ASKED, TWO, "a red circle"], *pictures, parts=3)
    entries = metric.entries("adherence")
    values = {name: entry["value"] for name, entry in entries.items()}
    assert values == {
        "adherence": 2 / 4,
        "adherence_count": 3 / 4,
        "adherence_colour": 2 / 4,
        "adherence_shape": 3 / 4,
        "adherence_size": 1,
        "adherence_place": 1,
        "adherence_relation": 1,
        "adherence_background": 1,
    }
    assert entries["adherence"]["interval"] == list(wilson(2, 4))
    assert entries["adherence_size"]["interval"] == list(wilson(3, 3))
    assert entries["adherence"]["n"] == 4
    counts = {name.removeprefix("adherence"): entry["n"] for name, entry in entries.items()}
    assert counts == {
        "": 4,
        "_count": 4,
        "_colour": 4,
        "_shape": 4,
        "_size": 3,
        "_place": 2,
        "_relation": 1,
        "_background": 3,
    }
    assert metric.per_sample().tolist() == [True, False, True, False]


def test_captions_of_what_training_never_showed_are_told_apart():
    metric = Adherence()
    metric.tell(["a red circle", "a blue square", "a red circle above a blue square"], ["blue square"])
    for picture in (on("white", RED), on("white", RED), on("white", RED)):
        metric.update("samples", as_images([picture]), None)
    entries = metric.entries("adherence")
    assert [entries[f"adherence{part}"]["value"] for part in ("", "_seen", "_unseen")] == [1 / 3, 1, 0]
    assert [entries[f"adherence{part}"]["n"] for part in ("", "_seen", "_unseen")] == [3, 1, 2]
    assert entries["adherence_unseen"]["interval"] == list(wilson(0, 2))
    metric = measured(["a red circle"] * 2, *[on("white", RED)] * 2)
    assert "_seen" not in found(metric)


def test_what_no_caption_says_has_no_share():
    metric = measured(["a red circle"] * 2, on("white", RED), on("black", RED))
    assert [*found(metric)] == ["", "_count", "_colour", "_shape"]
    assert tuple(f"_{name}" for name in ATTRIBUTES) == Adherence.part_names[3:]


def test_real_pictures_adhere_to_their_captions_and_to_no_others():
    images, _ = some_shapes(120)
    captions = [str(Shapes().example("held_out", index).text) for index in range(121)]
    for told, low, high in ((captions[:120], 1, 1), (captions[1:], 0, 0.05)):
        metric = Adherence()
        metric.tell(told)
        metric.update("samples", images, None)
        assert low <= float(metric.compute()) <= high


def test_captions_must_be_there_for_every_sample_and_must_be_captions():
    image = as_images([on("white", RED)] * 2)
    with pytest.raises(ValueError, match="needs a caption of every sample, got 0 for sample 1"):
        Adherence().update("samples", image, None)
    metric = measured(["a red circle"] * 3, *[on("white")] * 3)
    with pytest.raises(ValueError, match="got 3 for sample 4"):
        metric.update("samples", image, None)
    with pytest.raises(ValueError, match="'a cat' is no caption of shapes"):
        Adherence().tell(["a red circle", "a cat"])
    for empty in (Adherence(), Avoidance("red")):
        with pytest.raises(ValueError, match="needs at least 2 samples pictures, got 0"):
            empty.entries("metric")
    with pytest.raises(ValueError, match=r"pictures must be floats in \[-1, 1\]"):
        Avoidance("red").update("samples", image.to(torch.uint8), None)


@pytest.mark.parametrize(
    ("negative", "avoided"),
    [
        ("red", [False, False, True, False]),
        ("blue", [True, False, True, False]),
        ("circle", [False, False, True, False]),
        ("red square", [True, True, True, False]),  # a red circle and a blue square are none
        ("large red circle", [False, False, True, False]),
        ("small red", [True, True, True, False]),
        ("top left", [False, False, False, False]),
        ("white", [False, False, True, False]),
        ("black", [True, True, False, False]),
    ],
)
def test_a_sample_avoids_what_none_of_its_things_is_and_a_blank_one_avoids_nothing(negative, avoided):
    green = ("green", "cross", 7, 7, 3.2)
    pictures = [on("white", RED), on("white", RED, BLUE), on("black", green), on("white")]
    metric = Avoidance(negative)
    metric.update("samples", as_images(pictures), None)
    assert metric.per_sample().tolist() == avoided
    entries = metric.entries("avoidance")
    assert {name: entry["value"] for name, entry in entries.items()} == {
        "avoidance": sum(avoided) / 4,
        "avoidance_readable": 3 / 4,
    }
    assert entries["avoidance"]["interval"] == list(wilson(sum(avoided), 4))


def test_what_names_no_shape_cannot_be_avoided():
    with pytest.raises(ValueError, match="'blurry' names no shape"):
        Avoidance("blurry")
