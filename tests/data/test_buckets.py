"""Pictures of many shapes in rectangles of one area, a batch of one shape each."""

from bisect import bisect_right
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from condiff.data.batches import Batches, loader
from condiff.data.buckets import frames, nearest
from condiff.data.dataset import ShardDataset
from condiff.data.image_folder import ImageFolder
from condiff.data.pairs import Pairs
from condiff.data.prepare import prepare

SHAPES = {"a": (24, 40), "b": (40, 24), "c": (32, 32), "d": (33, 34), "e": (8, 13)}  # of pictures
FITTED = {"a": (24, 40), "b": (40, 24), "c": (32, 32), "d": (32, 32), "e": (24, 40)}
SIZES = [[2, 5, 1], [3, 1, 1]]


def test_rectangles_are_the_widest_of_the_area_of_the_square_that_are_not_too_long():
    found = {(frame.height, frame.width) for frame in frames(1024, 64, 3)}
    for side in range(64, 4096, 64):
        for other in range(64, 4096, 64):
            fits = side * other <= 1024**2 and max(side, other) <= 4 * min(side, other)
            shorter = (side + 64) * other > 1024**2 if side >= other else side * (other + 64) > 1024**2
            assert ((side, other) in found) == (fits and shorter)
    assert {(1024, 1024), (832, 1216), (1344, 768), (512, 2048)} <= found
    assert min(height * width for height, width in found) > 0.93 * 1024**2


def test_a_picture_goes_to_the_rectangle_most_like_it_however_large_it_is():
    every = frames(1024, 64, 3)
    for height, width, wanted in ((2000, 3000, (832, 1216)), (30, 20, (1216, 832)), (7, 7, (1024, 1024))):
        frame = nearest(every, height, width)
        assert (frame.height, frame.width) == wanted


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same five pictures as a subject, and as what stands beside it, of other keys."""
    root = tmp_path_factory.mktemp("buckets")
    for own in ("subject", "class"):
        (root / own).mkdir()
        for place, (name, shape) in enumerate(SHAPES.items()):
            Image.fromarray(np.full(shape, 10 * place, np.uint8)).save(root / own / f"{own}_{name}.png")
            (root / own / f"{own}_{name}.txt").write_text(name)
        source = ImageFolder(str(root / own), size=32, held_out=0.0, buckets=8)
        prepare(source, root / f"{own}_shards")
    return root


def sets(root, held_bytes=2**20):
    return [ShardDataset(root / f"{own}_shards", "train", held_bytes) for own in ("subject", "class")]


def test_pictures_keep_about_their_shape_and_their_framing_says_it(folders):
    (data, _) = sets(folders)
    found = {}
    for chunk in data.chunks(3):
        framings = chunk["framing"].tolist()
        for text, image, framing in zip(chunk["text"], chunk["image"], framings, strict=True):
            found[text] = tuple(image.shape[1:])
            assert framing[:2] == [*SHAPES[text]]
            assert framing[4:] == [*FITTED[text]]
    assert found == FITTED
    assert data.sizes == [[2, 2, 1]]  # flat, square and high ones
    assert data.shapes == [(24, 40), None, (40, 24)]


def test_held_out_pictures_are_squares(tmp_path, folders):
    prepare(ImageFolder(str(folders / "subject"), size=32, held_out=0.4, buckets=8), tmp_path)
    (chunk,) = ShardDataset(tmp_path, "held_out").chunks(5)
    assert tuple(chunk["image"].shape[2:]) == (32, 32)
    assert {*chunk["text"]} - {"c"}  # one that is none by itself


@pytest.mark.parametrize("size", [None, 30])
def test_sides_are_whole_steps(folders, size):
    with pytest.raises(ValueError, match=r"data.size must be a multiple of data.buckets=8, got (null|30)"):
        ImageFolder(str(folders / "subject"), size=size, buckets=8)


@pytest.mark.parametrize("batch_size", [2, 3, 4, 7])
def test_a_batch_is_of_one_bucket_and_all_examples_come_as_often(batch_size):
    """In as many batches as the first set has examples."""
    ends = [0, 2, 7, 8, 11, 12, 13]  # of the buckets of the first set, and then of the second
    batches = Batches(SIZES, batch_size, seed=1)
    for turn in range(4):
        rows = [batches.batch(step) for step in range(8 * turn, 8 * turn + 8)]
        seen = Counter(index for batch in rows for _, place, index in batch if place % 2 == 0)
        assert seen == {index: (batch_size + 1) // 2 for index in range(8)}
        for batch in rows:
            buckets = {bisect_right(ends, index) - 1 - 3 * (place % 2) for _, place, index in batch}
            assert len(buckets) == 1
    counts = Counter(index for step in range(8 * 3) for _, place, index in batches.batch(step) if place % 2)
    for own in (range(8, 11), range(11, 12), range(12, 13)):  # within a bucket, as often but for one
        assert max(counts[i] for i in own) - min(counts[i] for i in own) <= 1


def test_the_order_of_buckets_is_drawn_anew_in_each_turn_and_by_each_seed():
    def order(seed, turn):
        batches = Batches([[4, 4]], 1, seed)
        return tuple(batches.batch(step)[0][2] >= 4 for step in range(8 * turn, 8 * turn + 8))

    assert len({order(seed, turn) for seed in range(2) for turn in range(2)}) == 4


def test_ranks_that_share_a_batch_and_those_who_resume_see_the_same_bucket():
    whole = [*islice(Batches(SIZES, 5, seed=3), 30)]
    parts = [[*islice(Batches(SIZES, 5, seed=3, places=places), 30)] for places in (range(2), range(2, 5))]
    assert [one + other for one, other in zip(*parts, strict=True)] == whole
    assert [*islice(Batches(SIZES, 5, seed=3, start=11), 19)] == whole[11:]


@pytest.mark.parametrize("held_bytes", [0, 2**20])
def test_a_batch_of_a_subject_and_its_class_has_one_shape_and_each_row_its_own_picture(folders, held_bytes):
    data = Pairs(*sets(folders, held_bytes))
    shapes = set()
    for batch in islice(loader(data, Batches(data.sizes, 5, seed=2)), 12):
        shapes.add(tuple(batch["image"].shape[2:]))
        assert [key.split("_")[0] for key in batch["key"]] == ["subject", "class"] * 2 + ["subject"]
        values = ((batch["image"][:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
        assert values == [10 * [*SHAPES].index(text) for text in batch["text"]]
    assert shapes == {*FITTED.values()}
