"""Pictures and hints of a user's own, paired by their names."""

import numpy as np
import pytest
from PIL import Image

from condiff.data.hinted_folder import HintedFolder
from condiff.errors import DataError


@pytest.fixture
def folders(tmp_path):
    """Ten pictures, wider than high, and hints with a mark in the same place, in another format."""
    for place in range(10):
        picture, hint = np.zeros((24, 48, 3), np.uint8), np.zeros((24, 48), np.uint8)
        picture[4:6, 12 + 2 * place : 14 + 2 * place] = 200
        hint[4:6, 12 + 2 * place : 14 + 2 * place] = 255
        for folder, pixels, end in (("pictures", picture, "webp"), ("hints", hint, "png")):
            (tmp_path / folder / "deep").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / folder / "deep" / f"{place}.{end}", lossless=True)
    return tmp_path


def source(root, **options):
    return HintedFolder(str(root / "pictures"), str(root / "hints"), size=24, **options)


def test_a_hint_is_cut_as_its_picture_is(folders):
    own = source(folders)
    assert own.info().control == 1
    found = [example for split in ("train", "held_out") for example in own.examples(split)]
    assert len(found) == 10
    marks = [example.control > 128 for example in found]
    assert all(
        np.array_equal(mark, example.image[..., 0] > 100) for mark, example in zip(marks, found, strict=True)
    )
    assert len({mark.tobytes() for mark in marks}) > 5


def test_what_has_no_hint_or_one_of_another_size_is_told_by_name(folders):
    (folders / "hints" / "deep" / "3.png").unlink()
    Image.new("L", (24, 24)).save(folders / "hints" / "deep" / "4.png")
    with pytest.raises(DataError) as told:
        source(folders).check()
    three, four = sorted(told.value.lines)
    assert "deep/3.webp: has no hint in " in three
    assert "deep/4.webp: its hint " in four
    assert four.endswith("must have its size, got 24x24 and 48x24")
    with pytest.raises(DataError, match=r"data\.hints: .*gone is no folder"):
        HintedFolder(str(folders / "pictures"), str(folders / "gone")).check()


def test_another_hint_is_another_set(folders):
    before = source(folders).fingerprint()
    Image.new("L", (48, 24)).save(folders / "hints" / "deep" / "3.png")
    assert source(folders).fingerprint() != before
