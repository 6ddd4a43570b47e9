"""Pictures above their captions."""

import numpy as np
import pytest

from condiff.reports.captioned import EMPTY, GAP, SIDE, captioned


def pictures(count, channels=3):
    return np.stack([np.full((32, 32, channels), 40 * k, np.uint8) for k in range(count)])


def test_each_picture_stands_in_its_place_enlarged_without_blur():
    sheet = np.array(captioned(pictures(3), ["a", "b", "c"], columns=2))
    assert sheet.shape[1] == 2 * SIDE + GAP
    assert (sheet[:SIDE, :SIDE, :3] == 0).all()
    assert (sheet[:SIDE, SIDE + GAP :, :3] == 40).all()
    assert (sheet[SIDE:, :SIDE, :3] == 80).all(axis=2).sum() >= SIDE**2
    assert not sheet[:SIDE, SIDE : SIDE + GAP, 3].any()


def test_grey_pictures_are_shown_too_and_what_asks_for_nothing_says_so():
    grey = np.array(captioned(pictures(1, channels=1), [""], columns=1))
    assert grey[..., :3].max() > 0  # the words
    same = np.array(captioned(pictures(1), [EMPTY], columns=1))
    assert np.array_equal(grey, same)


def test_a_long_caption_is_wrapped_below_its_own_picture_and_cut():
    sheet = np.array(captioned(pictures(2), ["word " * 60, "short"], columns=2))
    below = sheet[SIDE:, SIDE : SIDE + GAP, 3]
    assert not below.any()  # nothing runs into the next column
    assert sheet.shape[0] < 1.7 * SIDE


def test_there_must_be_a_caption_for_each():
    with pytest.raises(ValueError, match="1 captions for 2 pictures"):
        captioned(pictures(2), ["a"], columns=2)
