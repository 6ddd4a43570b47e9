"""Hints that a user gives: fitted as pictures are, in turn, and refused by name."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from condiff.data.circles import Circles
from condiff.data.pictures import square
from condiff.errors import DataError
from condiff.stages.hints import given_hints

INFO = Circles(size=16).info()


def marked(path, column):
    """A picture twice as wide as high, with one white square."""
    pixels = np.zeros((32, 64), np.uint8)
    pixels[8:10, column : column + 2] = 255
    Image.fromarray(pixels).save(path)
    return pixels


def test_the_hints_of_a_folder_are_taken_in_turn_and_cut_as_pictures_are(tmp_path):
    pixels = [marked(tmp_path / f"{name}.png", column) for name, column in (("a", 20), ("b", 40))]
    (tmp_path / "notes.txt").write_text("no picture")
    found = given_hints(str(tmp_path), INFO, 5)
    assert found.shape == (5, 1, 16, 16)
    for place, hint in enumerate(found):
        cut = square(16, 1).fit(Image.fromarray(pixels[place % 2]))
        assert np.array_equal(hint[0], cut)
    assert divmod(int(found[0].argmax()), 16) == (4, 2)
    assert divmod(int(found[1].argmax()), 16) == (4, 12)
    assert given_hints(str(tmp_path / "b.png"), replace(INFO, control=3), 1).shape == (1, 3, 16, 16)


def test_what_is_no_hint_is_told_by_name(tmp_path):
    with pytest.raises(DataError, match=r"control: .*gone is not there; give a picture, or a folder of them"):
        given_hints(str(tmp_path / "gone"), INFO, 1)
    (tmp_path / "none").mkdir()
    with pytest.raises(
        DataError, match=r"control: .*none holds no picture; give a file, or a folder, of png"
    ):
        given_hints(str(tmp_path / "none"), INFO, 1)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"control: .*a\.png is no picture"):
        given_hints(str(tmp_path), INFO, 1)
