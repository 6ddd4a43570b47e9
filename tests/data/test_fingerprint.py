"""The fingerprint of a folder: its content, read once and remembered while nothing changes."""

import os
from pathlib import Path

from PIL import Image

from condiff.data.image_folder import ImageFolder
from condiff.data.memo import shared


def classes(root: Path) -> Path:
    for name in ("dogs", "cats"):
        (root / name).mkdir(parents=True)
        for index in range(10):
            Image.new("RGB", (16, 16), (index, 0, 0)).save(root / name / f"{index:02d}.png")
    return root


def test_the_fingerprint_is_of_the_content(tmp_path):
    root, memo = classes(tmp_path / "a"), tmp_path / "memo"
    first = ImageFolder(str(root)).fingerprint(memo)
    assert first == ImageFolder(str(root)).fingerprint(memo) == ImageFolder(str(root)).fingerprint()
    assert first == ImageFolder(str(classes(tmp_path / "b"))).fingerprint(memo)
    (root / "cats" / "00.png").rename(root / "cats" / "zz.png")
    assert ImageFolder(str(root)).fingerprint(memo) != first


def test_a_change_with_equal_size_and_time_is_noticed(tmp_path):
    root, memo = classes(tmp_path / "a"), tmp_path / "memo"
    first = ImageFolder(str(root)).fingerprint(memo)
    changed = root / "cats" / "01.png"
    before = changed.stat()
    others = [(root / "cats" / f"{index:02d}.png").read_bytes() for index in range(2, 10)]
    changed.write_bytes(next(data for data in others if len(data) == before.st_size))
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (changed.stat().st_mtime_ns, changed.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert ImageFolder(str(root)).fingerprint(memo) != first


def test_an_unchanged_folder_is_not_read_again(tmp_path, monkeypatch):
    root, memo = classes(tmp_path / "a"), tmp_path / "memo"
    first = ImageFolder(str(root)).fingerprint(memo)
    shared.cache_clear()  # as in another process
    monkeypatch.setattr(ImageFolder, "_look", None)
    again = ImageFolder(str(root))
    again.check(memo)
    assert again.fingerprint(memo) == first
    assert again.info().num_classes == 2


def test_a_folder_is_read_once_in_a_process(tmp_path, monkeypatch):
    root, memo = classes(tmp_path / "a"), tmp_path / "memo"
    ImageFolder(str(root)).check()
    monkeypatch.setattr(ImageFolder, "_look", None)
    first = ImageFolder(str(root)).fingerprint(memo)
    shared.cache_clear()
    assert ImageFolder(str(root)).fingerprint(memo) == first


def test_a_check_creates_nothing(tmp_path):
    root = classes(tmp_path / "a")
    ImageFolder(str(root)).check(tmp_path / "memo")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_damaged_memory_only_costs_time(tmp_path):
    root, memo = classes(tmp_path / "a"), tmp_path / "memo"
    first = ImageFolder(str(root)).fingerprint(memo)
    next(memo.iterdir()).write_text("{")
    shared.cache_clear()
    assert ImageFolder(str(root)).fingerprint(memo) == first
