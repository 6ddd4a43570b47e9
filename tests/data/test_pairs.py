"""A batch of two sets has its share of each, in its places, whoever loads it."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from condiff.data.batches import Batches, loader
from condiff.data.dataset import ShardDataset
from condiff.data.pairs import Pairs, is_second
from condiff.data.pictures import to_png
from condiff.data.shards import ShardWriter


def png(value: int) -> bytes:
    return to_png(np.full((2, 2), value, np.uint8))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Five of a subject, 100 and up, and three of a class, 0 and up, of which only the subject has notes."""
    root = tmp_path_factory.mktemp("sets")
    for name, first, count in (("subject", 100, 5), ("class", 0, 3)):
        (root / name).mkdir()
        with ShardWriter(root / name, "train") as shards:
            for i in range(count):
                own = {"png": png(first + i), "cls": b"1", "txt": name.encode()}
                shards.write(f"{name}-{i}", own | ({"source.png": png(0)} if first else {}))
    return root


def pairs(root, held_bytes=2**20):
    return Pairs(*(ShardDataset(root / name, "train", held_bytes) for name in ("subject", "class")))


@pytest.mark.parametrize("size", [2, 5, 8, 13])
def test_every_batch_has_its_share_of_each_and_each_is_gone_through(size):
    rows = [Batches([[5], [3]], size, seed=1).batch(step) for step in range(30)]
    for batch in rows:
        second = is_second(torch.tensor([place for _, place, _ in batch])).tolist()
        assert second == [index >= 5 for _, _, index in batch]
        assert sum(second) == size // 2
    for own in (range(5), range(5, 8)):
        seen = [index for batch in rows for _, _, index in batch if index in own]
        for epoch in range(len(seen) // len(own)):
            assert Counter(seen[epoch * len(own) : (epoch + 1) * len(own)]) == Counter(own)


def test_the_first_set_comes_as_it_would_alone():
    alone = [index for step in range(9) for *_, index in Batches([[5]], 4, seed=1).batch(step)]
    both = [index for step in range(9) for *_, index in Batches([[5], [3]], 8, seed=1).batch(step)[::2]]
    assert both == alone


def test_the_parts_of_all_ranks_are_the_batch_of_one():
    whole = Batches([[5], [3]], 7, seed=1).batch(4)
    parts = [Batches([[5], [3]], 7, seed=1, places=places).batch(4) for places in (range(3), range(3, 7))]
    assert [row for part in parts for row in part] == whole


@pytest.mark.parametrize(("held_bytes", "workers"), [(2**20, 0), (0, 0)])
def test_each_row_is_the_example_of_its_set_with_the_fields_of_both(folders, held_bytes, workers):
    data = pairs(folders, held_bytes)
    for batch in islice(loader(data, Batches(data.sizes, 7, seed=1), workers), 5):
        second = is_second(batch["place"]).tolist()
        assert batch["place"].tolist() == list(range(7))
        assert batch["text"] == ["class" if other else "subject" for other in second]
        values = ((batch["image"][:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
        numbers = [
            int(key.rpartition("-")[2]) + (0 if other else 100)
            for key, other in zip(batch["key"], second, strict=True)
        ]
        assert values == numbers
        assert "source" not in batch


def test_a_part_may_be_of_one_set(folders):
    data = pairs(folders)
    assert data.__getitems__([(0, 1, 6)])["text"] == ["class"]
    assert data.__getitems__([(0, 0, 4)])["text"] == ["subject"]


def test_a_batch_of_fewer_than_both_is_refused():
    with pytest.raises(ValueError, match="batches need"):
        Batches([[5], [3]], 1, seed=0)
