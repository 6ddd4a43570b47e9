"""Shards: standard tars for others, random access for us, and no damage goes unnoticed."""

import hashlib
import io
import json
import random
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from condiff.data.foreign import index_shards
from condiff.data.npy import from_npy, to_npy
from condiff.data.shards import Shards, ShardWriter
from condiff.errors import DataError, EnvironmentFault

SAMPLES = {f"a-{i:03d}": {"png": bytes([i]) * (i * 37 + 1), "cls": str(i % 3).encode()} for i in range(40)}


class Interrupting(dict):
    def __iter__(self):
        raise KeyError


def written(folder: Path, samples=SAMPLES, shard_bytes: int = 20_000) -> Path:
    with ShardWriter(folder, "train", shard_bytes) as shards:
        for key, members in samples.items():
            shards.write(key, members)
    return folder


def tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as file:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


def test_webdataset_reads_the_same_bytes(tmp_path):
    written(tmp_path)
    urls = sorted(str(path) for path in tmp_path.glob("*.tar"))
    assert len(urls) > 1
    read = {row["__key__"]: row for row in webdataset.WebDataset(urls, shardshuffle=False)}
    assert {key: {"png": row["png"], "cls": row["cls"]} for key, row in read.items()} == SAMPLES


def test_reading_at_random_gives_what_was_written(tmp_path):
    shards = Shards.open(written(tmp_path), "train")
    assert shards.keys == list(SAMPLES)
    assert shards.labels == [int(members["cls"]) for members in SAMPLES.values()]
    for index in random.Random(0).sample(range(40), 40):
        assert shards.read(index, "png") == SAMPLES[shards.keys[index]]["png"]
    shards.verify()


def test_same_samples_same_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        written(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert len(files) == 6  # five shards, one index


def test_a_shard_without_its_index_is_indexed_to_the_same_samples(tmp_path):
    ours = Shards.open(written(tmp_path), "train")
    theirs = index_shards(sorted(tmp_path.glob("*.tar")))
    assert theirs.samples == ours.samples
    assert theirs.shards == ours.shards


def test_shards_of_webdatasets_own_writer_are_indexed(tmp_path):
    with webdataset.TarWriter(str(tmp_path / "x.tar")) as file:
        file.write({"__key__": "p/one", "cls": 4, "txt": "a cat"})
        file.write({"__key__": "p/two", "cls": 5, "txt": "a dog"})
    shards = index_shards([tmp_path / "x.tar"])
    assert (shards.keys, shards.labels) == (["p/one", "p/two"], [4, 5])
    assert shards.read(1, "txt") == b"a dog"


def test_an_interrupted_split_has_no_index(tmp_path):
    with pytest.raises(KeyError):
        written(tmp_path, {"a": {"cls": b"1"}, "b": Interrupting()})
    assert [path.name for path in tmp_path.iterdir()] == ["train-000000.tar"]
    with pytest.raises(DataError, match="cannot be read"):
        Shards.open(tmp_path, "train")


def test_a_full_disk_leaves_no_index(tmp_path, monkeypatch):
    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("condiff.data.tar_stream.TarStream.close", full)
    with pytest.raises(EnvironmentFault, match="No space left"):
        written(tmp_path)
    assert not list(tmp_path.glob("*index*"))


@pytest.mark.parametrize("key", ["a.b", "a/b", "", "x" * 81, "ä"])
def test_keys_that_readers_would_split_are_refused(tmp_path, key):
    with pytest.raises(DataError), ShardWriter(tmp_path, "train") as shards:
        shards.write(key, {"cls": b"1"})


def test_a_key_is_written_once(tmp_path):
    with ShardWriter(tmp_path, "train") as shards:
        shards.write("a", {"cls": b"1"})
        with pytest.raises(DataError, match="train:a: the key is there twice"):
            shards.write("a", {"cls": b"2"})
    assert Shards.open(tmp_path, "train").labels == [1]


def mutate(data: bytes, rng: random.Random) -> bytes:
    at, kind = rng.randrange(len(data)), rng.randrange(4)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + b"\0" + data[at:]
    size = min(700, len(data) - at)
    return data[:at] + bytes(size) + data[at + size :]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_no_damage_to_a_shard_is_silent(tmp_path, kind):
    rng = random.Random(0)
    samples = {}
    for index in range(4):
        buffer = io.BytesIO()
        Image.effect_noise((24, 24), 50).save(buffer, format=kind)
        samples[f"s-{index}"] = {"png" if kind == "PNG" else "jpg": buffer.getvalue(), "cls": b"1"}
    path = written(tmp_path, samples, 10**6) / "train-000000.tar"
    whole = path.read_bytes()
    damaged = [data for data in (mutate(whole, rng) for _ in range(200)) if data != whole]
    assert len(damaged) > 150
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(DataError, match=path.name):
            Shards.open(tmp_path, "train").verify()


def test_a_truncated_shard_is_told_without_hashing(tmp_path):
    path = written(tmp_path) / "train-000001.tar"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(DataError, match=f"train-000001.tar: has {size - 512} bytes; its index says {size}"):
        Shards.open(tmp_path, "train")
    path.unlink()
    with pytest.raises(DataError, match=r"train-000001.tar: is missing"):
        Shards.open(tmp_path, "train")


@pytest.mark.parametrize(
    "break_it",
    [
        lambda text: text[: text.rindex("\n", 0, -1) + 1],
        lambda text: text.replace("train-000000.tar", "../train-000000.tar"),
        lambda text: text.replace('"png": [512', '"pyd": [512', 1),
        lambda text: text.replace('"png": [512', '"png": [99999999', 1),
        lambda text: text.replace('"a-001"', '"a-000"'),
        lambda text: text.replace('{"split"', '{"key": "b", "label": 1, "members": {}}\n{"split"'),
        lambda text: "no json\n",
        lambda text: "[]\n",
    ],
)
def test_an_index_that_is_not_whole_or_points_elsewhere_is_refused(tmp_path, break_it):
    index = written(tmp_path) / "index-train.jsonl"
    broken = break_it(index.read_text())
    assert broken != index.read_text()
    index.write_text(broken)
    with pytest.raises(DataError, match=r"index-train.jsonl: is no whole index"):
        Shards.open(tmp_path, "train")


def special(kind: bytes):
    def make(path: Path) -> None:
        with tarfile.open(path, "w") as file:
            member = tarfile.TarInfo("k.png")
            member.type, member.linkname = kind, "/etc/passwd"
            file.addfile(member)

    return make


HOSTILE = {
    "symlink": (special(tarfile.SYMTYPE), "k: k.png is no regular file"),
    "hardlink": (special(tarfile.LNKTYPE), "k: k.png is no regular file"),
    "device": (special(tarfile.CHRTYPE), "k: k.png is no regular file"),
    "fifo": (special(tarfile.FIFOTYPE), "k: k.png is no regular file"),
    "traversal": (lambda path: tar(path, [("../k.png", b"x")]), "leads out of the shard"),
    "absolute": (lambda path: tar(path, [("/etc/k.png", b"x")]), "leads out of the shard"),
    **{
        extension: (lambda path, e=extension: tar(path, [(f"k.{e}", b"x")]), f"k: .{extension} is not read")
        for extension in ("pyd", "pickle", "pkl", "pth", "pt", "npz", "b.png")
    },
    "twice": (
        lambda path: tar(path, [("k.png", b"x"), ("j.png", b"x"), ("k.cls", b"1")]),
        "k: the key is there twice",
    ),
    "same member": (lambda path: tar(path, [("k.png", b"x"), ("k.png", b"y")]), "k: the key is there twice"),
    "empty": (lambda path: tar(path, []), "is empty"),
    "no bytes": (lambda path: path.write_bytes(b""), "is no whole tar"),
    "no tar": (lambda path: path.write_bytes(b"x" * 5000), "is no whole tar"),
    "no integer": (lambda path: tar(path, [("k.cls", b"cat")]), "k: label 'cat' in .cls is no integer"),
    "compressed": (
        lambda path: tarfile.open(path, "w:gz").close(),
        "is no whole tar",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_and_broken_tars_are_refused_by_name(tmp_path, name):
    make, what = HOSTILE[name]
    make(tmp_path / "x.tar")
    with pytest.raises(DataError, match=r"x\.tar") as caught:
        index_shards([tmp_path / "x.tar"])
    assert what in str(caught.value)


def test_a_foreign_tar_cut_between_members_or_zeroed_inside_is_refused(tmp_path):
    path = tar(tmp_path / "x.tar", [(f"k{i}.txt", b"hello") for i in range(5)])
    whole = path.read_bytes()
    for damaged in (
        whole[:2048],
        whole[:2048] + bytes(1024) + whole[3072:],
        whole[:1024] + b"#" * 100 + whole[1124:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="is no whole tar"):
            index_shards([path])


def test_a_key_in_two_shards_is_refused(tmp_path):
    paths = [tar(tmp_path / f"{name}.tar", [("k.txt", b"hello")]) for name in "ab"]
    with pytest.raises(DataError, match=r"b.tar:k: the key is also in .*a.tar"):
        index_shards(paths)


def test_arrays_survive_and_nothing_else_is_loaded():
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(from_npy(to_npy(array)), array)
    np.testing.assert_array_equal(from_npy(to_npy(array.transpose(2, 0, 1))), array.transpose(2, 0, 1))
    objects = io.BytesIO()
    np.save(objects, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    huge = to_npy(array).replace(b"(2, 3, 4)", b"(9,99,99)")
    for data in (objects.getvalue(), huge, b"PK\x03\x04", b"", to_npy(array)[:-4]):
        with pytest.raises(ValueError):  # noqa: PT011  (numpy's words)
            from_npy(data)


def test_the_index_tells_the_sha256_of_each_shard(tmp_path):
    rows = [json.loads(line) for line in (written(tmp_path) / "index-train.jsonl").read_text().splitlines()]
    shards = [row for row in rows if "shard" in row]
    assert len(shards) == 5
    for row in shards:
        data = (tmp_path / row["shard"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (row["size"], row["sha256"])
