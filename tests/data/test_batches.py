"""Batch k is a pure function of (seed, k), whoever loads it."""

import os
import signal
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from condiff.data.batches import Batches, loader
from condiff.data.dataset import ShardDataset
from condiff.data.digits import Digits
from condiff.data.npy import to_npy
from condiff.data.prepare import prepare
from condiff.data.shards import ShardWriter
from condiff.data.source import DataInfo
from condiff.errors import ArtifactError, DataError, EnvironmentFault
from condiff.interrupts import Interrupted


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    prepare(Digits(), folder)
    return folder


def same(one, two) -> bool:
    if set(one) != set(two):
        return False
    tensors = [name for name, value in one.items() if isinstance(value, torch.Tensor)]
    rest = [name for name in one if name not in tensors]
    return all(torch.equal(one[n], two[n]) for n in tensors) and all(one[n] == two[n] for n in rest)


@pytest.mark.parametrize(("num", "size"), [(10, 4), (7, 7), (5, 13), (1, 3), (12, 5)])
def test_every_example_comes_once_per_epoch(num, size):
    rows = [row for step in range(3 * num) for row in Batches([[num]], size, seed=3).batch(step)]
    for epoch in range(3 * size):
        assert Counter(index for _, _, index in rows[epoch * num : (epoch + 1) * num]) == Counter(range(num))


def test_epochs_and_seeds_differ():
    orders = {
        tuple(row[2] for row in Batches([[50]], 50, seed).batch(step)) for seed in (0, 1) for step in (0, 1)
    }
    assert len(orders) == 4


def test_resuming_is_starting_at_k():
    whole = list(islice(Batches([[10]], 4, seed=1), 20))
    assert list(islice(Batches([[10]], 4, seed=1, start=7), 13)) == whole[7:]
    assert [rows[0][0] for rows in whole] == list(range(20))


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_the_parts_of_all_ranks_are_the_batch_of_one(parts):
    whole = Batches([[10]], 6, seed=1).batch(5)
    width = 6 // parts
    ranges = [range(start, start + width) for start in range(0, 6, width)]
    assert [row for places in ranges for row in Batches([[10]], 6, seed=1, places=places).batch(5)] == whole
    assert [place for _, place, _ in whole] == list(range(6))


@pytest.mark.parametrize(
    ("num", "size", "start", "places"),
    [(0, 4, 0, None), (4, 0, 0, None), (4, 4, -1, None), (4, 4, 0, range(2, 5))],
)
def test_batches_that_cannot_be_are_refused(num, size, start, places):
    with pytest.raises(ValueError, match=r"batches need|places must"):
        Batches([[num]], size, 0, start, places)


def test_workers_and_memory_do_not_change_a_batch(digits):
    held = ShardDataset(digits, "train")
    read = ShardDataset(digits, "train", held_bytes=0)
    assert (held.held, read.held) == (True, False)
    batches = Batches([[len(held)]], 5, seed=1, start=400)
    wanted = list(islice(loader(held, batches), 6))
    for dataset, workers in ((held, 2), (read, 0), (read, 2)):
        found = list(islice(loader(dataset, batches, workers), 6))
        assert all(same(one, two) for one, two in zip(wanted, found, strict=True))
    assert [batch["step"] for batch in wanted] == list(range(400, 406))


def test_loading_leaves_the_global_generator_alone(digits):
    before = torch.get_rng_state()
    dataset = ShardDataset(digits, "train")
    list(islice(loader(dataset, Batches([[len(dataset)]], 5, seed=1)), 3))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_holds_what_was_written(digits):
    written = {example.key: example for example in Digits().examples("held_out")}
    dataset = ShardDataset(digits, "held_out")
    chunks = list(dataset.chunks(64))
    assert [len(chunk["key"]) for chunk in chunks] == [64, 64, 52]
    assert [key for chunk in chunks for key in chunk["key"]] == list(written)
    image, label = torch.cat([c["image"] for c in chunks]), torch.cat([c["label"] for c in chunks])
    pixels = torch.from_numpy(np.stack([e.image for e in written.values()]))[:, None]
    assert torch.equal(((image + 1) * 127.5).round().byte(), pixels)
    assert (image.dtype, image.min(), image.max()) == (torch.float32, -1, 1)
    assert label.tolist() == [e.label for e in written.values()]
    assert label.dtype == torch.int64
    assert "text" not in chunks[0]
    some = list(dataset.chunks(64, range(50, 121)))
    assert [len(chunk["key"]) for chunk in some] == [64, 7]
    assert torch.equal(torch.cat([chunk["image"] for chunk in some]), image[50:121])
    (none,) = dataset.chunks(64, range(50, 50))
    assert (none["image"].shape, len(none["label"])) == ((0, *image.shape[1:]), 0)


@pytest.mark.parametrize("held_bytes", [0, 2**20])
def test_moments_and_text_come_as_they_were_written(tmp_path, held_bytes):
    moments = np.random.default_rng(0).normal(size=(5, 8, 2, 2)).astype(np.float32)
    with ShardWriter(tmp_path, "train") as shards:
        for index, value in enumerate(moments):
            shards.write(f"k{index}", {"npy": to_npy(value), "cls": b"2", "txt": f"é {index}".encode()})
    dataset = ShardDataset(tmp_path, "train", held_bytes)
    batch = dataset.__getitems__([(9, 0, 4), (9, 1, 2)])
    assert torch.equal(batch["moments"], torch.from_numpy(moments[[4, 2]]))
    assert (batch["text"], batch["key"], batch["step"]) == (["é 4", "é 2"], ["k4", "k2"], 9)
    assert (batch["label"].tolist(), batch["place"].tolist()) == ([2, 2], [0, 1])
    assert "image" not in batch


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (to_npy(np.zeros((4, 1, 1), np.float32)), "k1: has shape"),
        (to_npy(np.full((8, 2, 2), np.nan, np.float32)), "k1: .npy holds values that are not finite"),
        (b"no array", "k1: .npy cannot be read"),
    ],
)
def test_bad_moments_are_told_by_shard_and_key(tmp_path, bad, what):
    with ShardWriter(tmp_path, "train") as shards:
        shards.write("k0", {"npy": to_npy(np.zeros((8, 2, 2), np.float32))})
        shards.write("k1", {"npy": bad})
    dataset = ShardDataset(tmp_path, "train", held_bytes=0)
    with pytest.raises(DataError, match=rf"train-000000.tar:{what}"):
        list(islice(loader(dataset, Batches([[2]], 2, seed=0)), 1))


def test_an_empty_split_has_no_batches(tmp_path):
    with ShardWriter(tmp_path, "held_out"):
        pass
    dataset = ShardDataset(tmp_path, "held_out")
    assert (len(dataset), list(dataset.chunks(4)), dataset.labels) == (0, [], None)


def test_a_fault_in_a_worker_is_told_in_one_line(tmp_path):
    with ShardWriter(tmp_path, "train") as shards:
        shards.write("k0", {"npy": to_npy(np.zeros((8, 2, 2), np.float32))})
        shards.write("k1", {"npy": b"no array"})
    loaded = iter(
        loader(ShardDataset(tmp_path, "train", held_bytes=0), Batches([[2]], 2, seed=0), num_workers=1)
    )
    with pytest.raises(DataError) as caught:
        next(loaded)
    assert len(caught.value.lines) == 1
    assert caught.value.lines[0].startswith(f"{tmp_path / 'train-000000.tar'}:k1: .npy cannot be read")


@pytest.mark.parametrize("signum", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_killed_worker_is_an_error_and_no_hang_and_what_stops_a_run_comes_first(digits, signum):
    dataset, asked = ShardDataset(digits, "train", held_bytes=0), []
    before = set(torch.multiprocessing.active_children())
    batches = Batches([[len(dataset)]], 4, seed=0)
    loaded = iter(loader(dataset, batches, num_workers=1, stop=lambda: asked.append(signum)))
    next(loaded)
    (worker,) = set(torch.multiprocessing.active_children()) - before
    os.kill(worker.pid, signal.SIGINT)  # as a terminal does
    assert len(list(islice(loaded, 8))) == 8
    asked.clear()
    os.kill(worker.pid, signum)
    with pytest.raises(EnvironmentFault, match="a worker died after step"):
        list(islice(loaded, 100))
    assert {*asked} == {signum}


def test_a_worker_that_is_late_is_asked_again_until_the_run_is_to_stop(digits, monkeypatch):
    class Late:
        """As the library's iterator, of which nothing comes within the timeout."""

        def __init__(self):
            self.left = iter([None, {"step": 0, "key": ["a"]}])

        def __next__(self):
            batch = next(self.left, None)
            if batch is None:
                raise RuntimeError("DataLoader timed out after 1.0 seconds")
            return batch

    stops = iter([None, None, Interrupted(signal.SIGTERM)])

    def stop():
        if (stopped := next(stops)) is not None:
            raise stopped

    loading = loader(ShardDataset(digits, "train", held_bytes=0), Batches([[9]], 4, seed=0), 1, stop)
    monkeypatch.setattr(loading, "_loaded", Late)
    loaded = iter(loading)
    assert next(loaded)["step"] == 0
    with pytest.raises(Interrupted):
        next(loaded)
    assert next(stops, None) is None


def test_a_damaged_description_is_told(tmp_path):
    (tmp_path / "data.json").write_text('{"size": 8}')
    with pytest.raises(ArtifactError, match=r"data.json: is not the description"):
        DataInfo.read(tmp_path)
