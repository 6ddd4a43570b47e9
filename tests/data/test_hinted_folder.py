"""Pictures and hints of a user's own, paired by their names."""

from itertools import islice

import numpy as np
import pytest
from PIL import Image

from condiff.data.batches import Batches, loader
from condiff.data.dataset import ShardDataset
from condiff.data.hinted_folder import HintedFolder
from condiff.data.prepare import prepare
from condiff.diffusion.randomness import Draws
from condiff.errors import DataError
from condiff.methods.method import mirrored


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
    Image.new("L", (48, 24)).save(folders / "hints" / "deep" / "5.jpg")
    Image.new("L", (48, 24)).save(folders / "hints" / "deep" / "6.jpg")
    (folders / "hints" / "deep" / "6.webp").write_bytes(
        (folders / "pictures" / "deep" / "6.webp").read_bytes()
    )
    with pytest.raises(DataError) as told:
        source(folders).check()
    three, four, five = sorted(told.value.lines)  # 6 has one of its very name
    assert "deep/5.webp: has the hints " in five
    assert five.endswith("; keep one of them")
    assert "deep/3.webp: has no hint in " in three
    assert "deep/4.webp: its hint " in four
    assert four.endswith("must have its size, got 24x24 and 48x24")
    (folders / "hints" / "deep" / "4.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"deep/4\.png is no picture; png, jpg, jpeg, webp are read"):
        source(folders).check()
    with pytest.raises(DataError, match=r"data\.hints: .*gone is no folder"):
        HintedFolder(str(folders / "pictures"), str(folders / "gone")).check()


def test_another_hint_is_another_set(folders):
    before = source(folders).fingerprint()
    Image.new("L", (48, 24)).save(folders / "hints" / "deep" / "3.png")
    assert source(folders).fingerprint() != before


@pytest.mark.parametrize("held_bytes", [0, 2**20])
def test_in_rectangles_a_hint_is_cut_and_mirrored_as_its_picture_is(tmp_path, held_bytes):
    """Marked by one pixel, in batches of every shape, from shards in memory and on the disk."""
    shapes = {"flat": (24, 50), "high": (50, 24), "square": (34, 32), "large": (48, 90)}
    rng = np.random.default_rng(0)
    for name, (height, width) in shapes.items():
        for place in range(3):
            picture = rng.integers(0, 60, (height, width, 3)).astype(np.uint8)
            hint = np.zeros((height, width), np.uint8)
            y, x = (side // 4 * 2 + 4 * place - 4 for side in (height, width))  # whole once it is halved
            picture[y : y + 2, x : x + 2], hint[y : y + 2, x : x + 2] = 255, 255
            for folder, pixels in (("pictures", picture), ("hints", hint)):
                (tmp_path / folder).mkdir(exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / folder / f"{name}_{place}.png")
    prepare(HintedFolder(*folders_of(tmp_path), size=32, held_out=0.0, buckets=8), tmp_path / "shards")
    data = ShardDataset(tmp_path / "shards", "train", held_bytes)
    found, turned = {}, 0
    for step, plain in enumerate(islice(loader(data, Batches(data.sizes, 2, seed=0)), 12)):
        batch = mirrored(plain, Draws(0, step, 2, slice(None)))
        turned += int((batch["image"] != plain["image"]).flatten(1).any(1).sum())
        assert batch["control"].shape[2:] == batch["image"].shape[2:]
        for key, image, hint in zip(batch["key"], batch["image"], batch["control"], strict=True):
            places = {int(pixels.mean(0).flatten().argmax()) for pixels in (image, hint)}
            assert len(places) == 1, key
            assert hint.max() > 0.2
            found[key] = tuple(image.shape[1:]), *places
    assert {shape for shape, _ in found.values()} == {(24, 40), (40, 24), (32, 32)}
    assert len(found) == 12
    assert len({*found.values()}) > 8
    assert 4 < turned < 20


def folders_of(root):
    return str(root / "pictures"), str(root / "hints")
