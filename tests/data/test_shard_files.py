"""A user's own shards: the same promises as for folders, and nothing but local files."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from condiff.data.detectors import Edges
from condiff.data.digits import Digits
from condiff.data.hinted import Hinted
from condiff.data.memo import shared
from condiff.data.pictures import square
from condiff.data.places import shard_paths
from condiff.data.prepare import prepare
from condiff.data.shapes import Shapes
from condiff.data.shard_files import ShardFiles
from condiff.data.shards import Shards
from condiff.errors import CondiffError, ConfigError, DataError


def png(size: int = 16, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (size, size)).save(buffer, format="PNG")
    return buffer.getvalue()


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


def shards(folder: Path, count: int = 2) -> Path:
    for shard in range(count):
        members: dict[str, bytes] = {}
        for index in range(10):
            members |= {f"p/{shard}{index}.png": png(), f"p/{shard}{index}.cls": str(index % 3).encode()}
        tar(folder / f"x-{shard:03d}.tar", members)
    return folder


def lines(path: Path, **options) -> tuple[str, ...]:
    with pytest.raises(CondiffError) as caught:
        ShardFiles(str(path), **options).check()
    return caught.value.lines


def everything(source: ShardFiles):
    return [example for split in ("train", "held_out") for example in source.examples(split)]


@pytest.mark.parametrize("path", ["", "/x-{000..001}.tar"])
def test_a_folder_and_a_range_give_the_same_examples(tmp_path, path):
    source = ShardFiles(str(shards(tmp_path)) + path)
    info = source.info()
    assert (info.num_classes, info.size, info.channels, info.num_train + info.num_held_out) == (3, 16, 3, 20)
    assert info.num_held_out >= 1
    assert sorted(example.label for example in everything(source)) == sorted([i % 3 for i in range(10)] * 2)


def test_captions_come_from_txt_or_json(tmp_path):
    caption = json.dumps({"caption": "two"}).encode()
    path = tar(tmp_path / "a.tar", {"1.png": png(), "1.txt": b"one", "2.png": png(), "2.json": caption})
    assert sorted(str(example.text) for example in everything(ShardFiles(str(path)))) == ["one", "two"]


def test_prepared_shards_are_a_source_that_keeps_its_sides(tmp_path):
    prepare(Digits(), tmp_path / "out")
    source = ShardFiles(str(tmp_path / "out"))
    assert (source.info().num_train, source.info().num_held_out) == (1617, 180)
    ours = {e.key: (e.label, e.image.tobytes()) for e in Digits().examples("held_out")}
    assert {e.key: (e.label, e.image.tobytes()) for e in source.examples("held_out")} == ours


@pytest.mark.parametrize(
    "path",
    [
        "pipe:touch canary",
        "http://x.org/{000..003}.tar",
        "https://x.org/a.tar",
        "file:/etc/passwd",
        "s3://bucket/a.tar",
        "gs://bucket/a.tar",
        "../a.tar",
        "/data/../etc/a.tar",
        "-",
        "",
        "/data/x-{000...003}.tar",
        "/data/x-{003..000}.tar",
        "/data/x-{0..99999999}.tar",
        "/data/x-{a,b}.tar",
    ],
)
def test_only_plain_local_paths_are_opened(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"data.path: "):
        ShardFiles(path).check()
    assert not list(tmp_path.iterdir())


def test_shards_that_are_not_there_are_told(tmp_path):
    shards(tmp_path)
    found = lines(tmp_path / "x-{000..003}.tar")
    assert [line.split(" ")[1] for line in found] == [str(tmp_path / f"x-00{i}.tar") for i in (2, 3)]
    (tmp_path / "empty").mkdir()
    assert "holds no .tar" in lines(tmp_path / "empty")[0]


def test_ranges_keep_their_zeros():
    with pytest.raises(DataError) as caught:
        shard_paths("/gone/{8..10}-{00..01}.tar")
    assert [line.split("/gone/")[1].split(".tar")[0] for line in caught.value.lines] == [
        "8-00", "8-01", "9-00", "9-01", "10-00", "10-01",
    ]  # fmt: skip


def test_every_mistake_names_shard_and_key(tmp_path):
    path = tar(
        tmp_path / "a.tar",
        {
            "good.png": png(), "good.cls": b"1", "good.txt": b"fine",
            "big.png": png(), "big.cls": b"10", "big.txt": b"fine",
            "word.png": png(), "word.cls": b"cat", "word.txt": b"fine",
            "broken.png": b"no", "broken.cls": b"1", "broken.txt": b"fine",
            "nolabel.png": png(), "nolabel.txt": b"fine",
            "notext.png": png(), "notext.cls": b"1",
            "nopicture.cls": b"1",
            "latin.png": png(), "latin.cls": b"1", "latin.txt": b"\xff",
        },
    )  # fmt: skip
    tar(tmp_path / "b.tar", {"x.pyd": b"1"})
    found = "\n".join(lines(tmp_path, num_classes=10))
    for what in (
        "a.tar:big: label 10; data.num_classes=10 allows 0..9",
        "a.tar:word: label 'cat' in .cls is no integer",
        "a.tar:broken: is no picture",
        "a.tar:nolabel: has no label",
        "a.tar:notext: has no text",
        "a.tar:nopicture: has 0 pictures",
        "a.tar:latin: its text cannot be read",
        "b.tar:x: .pyd is not read",
    ):
        assert what in found
    assert "good" not in found
    assert str(path) in found


def test_a_key_in_two_shards_is_told(tmp_path):
    for name in "ab":
        tar(tmp_path / f"{name}.tar", {"k.png": png()})
    assert "b.tar:k: the key is also that of" in lines(tmp_path)[0]


def test_a_shard_that_left_its_index_is_told(tmp_path):
    prepare(Digits(), tmp_path)
    path = tmp_path / "train-000000.tar"
    data = bytearray(path.read_bytes())
    offset, _ = Shards.open(tmp_path, "train").samples[0].members["cls"]
    data[offset] ^= 1
    path.write_bytes(data)
    assert any("train-000000.tar: sha256 is" in line and "index says" in line for line in lines(tmp_path))


def test_the_fingerprint_is_of_the_content(tmp_path, monkeypatch):
    memo = tmp_path / "memo"
    first = ShardFiles(str(shards(tmp_path))).fingerprint(memo)
    shared.cache_clear()  # as in another process
    with monkeypatch.context() as patched:
        patched.setattr(ShardFiles, "_look", None)  # an unchanged shard is not read again
        assert ShardFiles(str(tmp_path)).fingerprint(memo) == first
    tar(tmp_path / "x-001.tar", {"other.png": png(), "other.cls": b"1"})
    assert ShardFiles(str(tmp_path)).fingerprint(memo) != first


def test_prepared_hints_come_back_with_their_pictures_by_key_and_are_cut_alike(tmp_path):
    prepare(Hinted(Shapes(num_train=6, num_held_out=3), Edges()), tmp_path / "out")
    source = ShardFiles(str(tmp_path / "out"), size=24)
    assert source.info().control == 1
    own = {e.key: e for e in everything(source)}
    first = Shapes(num_train=6, num_held_out=3).example("held_out", 0)
    assert {e.key for e in source.examples("held_out")} == {
        f"held_out-{k:07d}" for k in range(3)
    } & own.keys()
    assert len(own) == 9
    whole = ShardFiles(str(tmp_path / "out"))
    for example in everything(whole):
        assert np.array_equal(example.control, Edges()(example))
    fit = square(24, 1).fit
    hint = Image.fromarray(Edges()(first))
    assert np.array_equal(own[first.key].control, fit(hint))


def test_a_hint_that_is_missing_or_of_another_size_is_told_by_its_key(tmp_path):
    members = {"1.png": png(), "1.control.png": png(mode="L"), "2.png": png()}
    (line,) = lines(tar(tmp_path / "a.tar", members))
    assert ":2: has no .control.png, but others have; give all a hint or none" in line
    (line,) = lines(tar(tmp_path / "b.tar", {**members, "2.control.png": png(8, "L")}))
    assert ":2: its .control.png must have its size, got 8x8 and 16x16" in line
    (line,) = lines(tar(tmp_path / "c.tar", {**members, "2.control.png": b"no picture"}))
    assert ":2: its .control.png is no picture" in line
