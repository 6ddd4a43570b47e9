"""A plain value fits an annotation or is refused with what is allowed."""

import math
from typing import Annotated, Any, Literal

import pytest

from condiff.config.annotations import Wired
from condiff.config.values import MisfitError, describe, fit, is_plain
from condiff.ranges import Count, Fraction, Natural, Positive, Probability, Range, Real

Color = Literal["red", "green"]
OBJECT = {"_target_": "condiff.diffusion.guidance.NoGuidance"}


@pytest.mark.parametrize(
    ("value", "annotation", "fitted"),
    [
        (2, float, 2.0),
        (2, Real, 2.0),
        (2, Count, 2),
        (0, Natural, 0),
        (True, bool, True),
        ("a", str, "a"),
        (None, Count | None, None),
        (3, Positive | None, 3.0),
        (3, float | int, 3.0),
        (3, int | float, 3),
        ("red", Color, "red"),
        ([1, 2], list[Real], [1.0, 2.0]),
        ((1, 2), list[int], [1, 2]),
        ([1, 2], tuple[int, float], [1, 2.0]),
        ([1, 2, 3], tuple[int, ...], [1, 2, 3]),
        ([], list[int], []),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        (OBJECT, Wired, OBJECT),
        ([OBJECT], list[Wired], [OBJECT]),
        ({"a": OBJECT}, dict[str, Wired], {"a": OBJECT}),
        ("x", Any, "x"),
        (1, float | Wired, 1.0),
    ],
)
def test_a_value_takes_the_type_that_is_asked_for(value, annotation, fitted):
    got = fit(value, annotation)
    assert got == fitted
    assert repr(got) == repr(fitted)


@pytest.mark.parametrize(
    ("value", "annotation", "said"),
    [
        ("fifty", Count, "must be an integer >= 1, got 'fifty'"),
        ("2", Count, "must be an integer >= 1, got '2'"),
        (0, Count, "must be an integer >= 1, got 0"),
        (2.0, Count, "must be an integer >= 1, got 2.0"),
        (True, Count, "must be an integer >= 1, got true"),
        (1, bool, "must be true or false, got 1"),
        (1, str, "must be text, got 1"),
        (None, Positive, "must be a number > 0, got null"),
        (math.nan, Real, "must be a finite number, got nan"),
        (math.inf, Real, "must be a finite number, got inf"),
        (1.0, Probability, "must be a number in [0, 1), got 1.0"),
        (10**400, Real, f"must be a finite number, got {str(10**400)[:77]}..."),
        (-1, Fraction | None, "must be a number in [0, 1] or null, got -1"),
        ("rde", Color, "must be one of red, green, got 'rde'; did you mean 'red'?"),
        ("rde", Color | None, "must be one of red, green or null, got 'rde'; did you mean 'red'?"),
        ([1, "a"], list[Count], "must be a list, each an integer >= 1, got [1, 'a']"),
        ([1], tuple[int, int], "must be a list of 2: an integer; an integer, got [1]"),
        ("abc", list[str], "must be a list, each text, got 'abc'"),
        (5, list[str] | str | None, "must be text or null or a list, each text, got 5"),
        (3, Wired, "must be an object with a _target_, got 3"),
        ({"a": 1}, Wired, "must be an object with a _target_, got a mapping {'a': 1}"),
        (OBJECT, float, "must be a number, got an object condiff.diffusion.guidance.NoGuidance"),
        (OBJECT, dict[str, Wired], "must be a mapping, each value an object with a _target_, got an object"),
        (5, Annotated[int, Range(high=3)], "must be an integer <= 3, got 5"),
    ],
)
def test_a_misfit_says_what_is_allowed_and_what_it_got(value, annotation, said):
    with pytest.raises(MisfitError) as error:
        fit(value, annotation)
    assert str(error.value).startswith(said)


def test_one_is_not_true_among_choices():
    with pytest.raises(MisfitError):
        fit(1, Literal[True])


def test_a_long_value_is_cut():
    with pytest.raises(MisfitError) as error:
        fit("x" * 5000, Count)
    assert len(str(error.value)) < 200


def test_every_annotation_has_words():
    for annotation in (Count, Color, list, dict, list[int], Any, Wired, None | int):
        assert describe(annotation)


def test_an_object_anywhere_makes_an_annotation_not_plain():
    assert is_plain(Count | None)
    assert is_plain(Literal["a"])
    assert not is_plain(Wired | None)
    assert not is_plain(list[Wired])
