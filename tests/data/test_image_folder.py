"""A user's own folder: what is read from it, and every mistake at once."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from condiff.data.image_folder import ImageFolder
from condiff.data.prepare import prepare
from condiff.data.source import DataInfo
from condiff.errors import DataError


def picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (16, 16), colour=None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = {"RGB": (10, 20, 30), "L": 40, "RGBA": (0, 0, 0, 0)}
    Image.new(mode, size, colours[mode] if colour is None else colour).save(path)
    return path


def classes(root: Path, count: int = 10) -> Path:
    for name in ("dogs", "cats"):
        for index in range(count):
            picture(root / name / f"{index:02d}.png", colour=(index, 0, 0))
    return root


def lines(root: Path, **options) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        ImageFolder(str(root), **options).check()
    return caught.value.lines


def everything(source: ImageFolder):
    return [example for split in ("train", "held_out") for example in source.examples(split)]


def test_folders_are_classes_in_the_order_of_their_names(tmp_path):
    source = ImageFolder(str(classes(tmp_path)))
    info = source.info()
    assert (info.num_classes, info.class_names, info.channels, info.size) == (2, ["cats", "dogs"], 3, 16)
    assert info.num_train + info.num_held_out == 20
    for example in everything(source):
        assert example.label == ("dogs" in example.key)
        assert example.image.shape == (16, 16, 3)


def test_metadata_gives_text_and_labels(tmp_path):
    for index in range(3):
        picture(tmp_path / "deep" / f"{index}.jpg", size=(20, 40))
    rows = [{"file_name": f"deep/{i}.jpg", "text": f"picture {i}", "label": i} for i in range(3)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    source = ImageFolder(str(tmp_path))
    assert {(e.text, e.label) for e in everything(source)} == {(f"picture {i}", i) for i in range(3)}
    assert (source.info().num_classes, source.info().has_text, source.info().size) == (3, True, 16)


def test_csv_labels_may_be_names(tmp_path):
    for name in "ab":
        picture(tmp_path / f"{name}.png")
    (tmp_path / "metadata.csv").write_text("file_name,label\na.png,zebra\nb.png,ape\n")
    source = ImageFolder(str(tmp_path))
    assert source.info().class_names == ["ape", "zebra"]
    assert {e.key[0]: e.label for e in everything(source)} == {"a": 1, "b": 0}


def test_captions_lie_beside_the_pictures(tmp_path):
    for name in ("x/a", "b"):
        picture(tmp_path / f"{name}.webp")
        (tmp_path / f"{name}.txt").write_text(f"a drawing of {name}\n")
    source = ImageFolder(str(tmp_path))
    assert {example.text for example in everything(source)} == {"a drawing of x/a", "a drawing of b"}
    assert source.info().num_classes == 0


def test_a_caption_is_said_of_every_picture_about_its_own_words_where_it_asks_for_them(tmp_path):
    picture(tmp_path / "a.png")
    plain = ImageFolder(str(tmp_path), caption="a photo of sks dog")
    assert [(e.text, e.label) for e in everything(plain)] == [("a photo of sks dog", None)]
    (line,) = lines(tmp_path, caption="in sks style, {text}")
    assert line == f"{tmp_path / 'a.png'}: has no text for the {{text}} of data.caption; write one"
    (tmp_path / "a.txt").write_text("a dog")
    own = ImageFolder(str(tmp_path), caption="in sks style, {text}")
    assert [example.text for example in everything(own)] == ["in sks style, a dog"]
    with pytest.raises(ValueError, match=r"caption must be words, and \{text\} for each picture's own, got"):
        ImageFolder(str(tmp_path), caption="a {class}")


def test_a_flat_folder_has_neither_labels_nor_text(tmp_path):
    picture(tmp_path / "a.png")
    info = ImageFolder(str(tmp_path)).info()
    assert (info.num_classes, info.has_text, info.class_names) == (0, False, [])


def test_all_grey_stays_grey_and_one_colour_picture_colours_all(tmp_path):
    picture(tmp_path / "a.png", "L")
    source = ImageFolder(str(tmp_path))
    assert (source.info().channels, everything(source)[0].image.shape) == (1, (16, 16))
    picture(tmp_path / "b.png", "RGB")
    assert ImageFolder(str(tmp_path)).info().channels == 3


@pytest.mark.parametrize(
    ("sides", "options", "size"),
    [
        (((30, 50), (40, 60)), {}, 24),
        (((300, 200),), {}, 64),
        (((300, 200),), {"max_size": 128}, 128),
        (((30, 50),), {"multiple_of": 4}, 28),
        (((30, 50),), {"size": 20}, 20),
    ],
)
def test_the_size_is_read_from_the_data(tmp_path, sides, options, size):
    for index, side in enumerate(sides):
        picture(tmp_path / f"{index}.png", size=side)
    source = ImageFolder(str(tmp_path), **options)
    assert source.info().size == size
    assert all(example.image.shape == (size, size, 3) for example in everything(source))


def test_a_picture_keeps_its_side_when_others_are_added(tmp_path):
    before = {example.key for example in ImageFolder(str(classes(tmp_path, 40))).examples("held_out")}
    after = {example.key for example in ImageFolder(str(classes(tmp_path, 60))).examples("held_out")}
    assert before < after
    assert 4 <= len(before) <= 14  # of 80, at a share of .1


def test_from_ten_pictures_on_neither_side_is_empty(tmp_path):
    for index in range(10):
        picture(tmp_path / f"{index}.png")
    for share in (1e-9, 0.999999):
        info = ImageFolder(str(tmp_path), held_out=share).info()
        assert min(info.num_train, info.num_held_out) == 1
    assert ImageFolder(str(tmp_path), held_out=0.0).info().num_held_out == 0


def test_every_mistake_is_told_at_once(tmp_path):
    root = classes(tmp_path, 2)
    (root / "cats" / "broken.png").write_bytes(b"hello")
    (root / "dogs" / "cut.jpg").write_bytes(
        picture(root / "dogs" / "x.jpg", size=(64, 64)).read_bytes()[:300]
    )
    (root / "dogs" / "old.bmp").write_bytes(b"BM")
    picture(root / "alone.png")
    (root / "empty").mkdir()
    found = "\n".join(lines(root))
    for what in (
        "broken.png: is no picture",
        "cut.jpg: cannot be decoded",
        "old.bmp: is a .bmp; png, jpg, jpeg, webp are read",
        "alone.png: lies beside class folders",
        "empty: holds no picture",
    ):
        assert what in found
    assert len(lines(root)) == 5


def test_a_long_list_is_cut_and_counted(tmp_path):
    for index in range(30):
        (tmp_path / f"{index}.png").write_bytes(b"")
    found = lines(tmp_path)
    assert (len(found), found[-1]) == (21, "data: 10 more mistakes like these, 30 in all")


METADATA = {
    "missing file": ('{"file_name": "gone.png", "text": "x"}', "gone.png: is missing; metadata.jsonl line 2"),
    "missing text": ('{"file_name": "b.png"}', "b.png: has no text at metadata.jsonl line 2"),
    "empty text": ('{"file_name": "b.png", "text": " "}', "b.png: has no text"),
    "no json": ("{", "metadata.jsonl: line 2 is no JSON object"),
    "no row": ('{"text": "x"}', "metadata.jsonl: line 2 is no row; file_name"),
    "a list": ("[1]", "metadata.jsonl: line 2 is no row"),
    "outside": ('{"file_name": "../b.png", "text": "x"}', "leads out of the folder"),
    "absolute": ('{"file_name": "/etc/b.png", "text": "x"}', "leads out of the folder"),
    "twice": ('{"file_name": "./a.png", "text": "x"}', "a.png: has a second row"),
    "unlisted": ("", "b.png: has no row in metadata.jsonl"),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_that_does_not_fit_is_told(tmp_path, name):
    row, what = METADATA[name]
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "hello"}\n' + row)
    assert any(what in line for line in lines(tmp_path))


@pytest.mark.parametrize(
    ("label", "what"),
    [
        ("10", "label 10; data.num_classes=10 allows 0..9"),
        ("-1", "label -1; data.num_classes=10 allows 0..9"),
        ("x", "label 'x' is no integer"),
        ("1.5", "label '1.5' is no integer"),
        ("", "has no label at metadata.csv|has no label; every row needs one"),
    ],
)
def test_a_label_outside_the_classes_is_told(tmp_path, label, what):
    for name in "ab":
        picture(tmp_path / f"{name}.png")
    (tmp_path / "metadata.csv").write_text(f"file_name,label\na.png,3\nb.png,{label}\n")
    (line,) = lines(tmp_path, num_classes=10)
    assert line.startswith(f"{tmp_path / 'b.png'}: ")
    assert any(part in line for part in what.split("|"))


def test_more_folders_than_classes_is_told(tmp_path):
    assert len(lines(classes(tmp_path, 3), num_classes=1)) == 3


def test_a_missing_or_unreadable_caption_is_told(tmp_path):
    for name in "abcd":
        picture(tmp_path / f"{name}.png")
    (tmp_path / "a.txt").write_text("fine")
    (tmp_path / "b.txt").write_text(" \n")
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\xfa")
    found = "\n".join(lines(tmp_path))
    for what in ("b.png: its b.txt is empty", "c.png: its c.txt cannot be read", "d.png: has no caption"):
        assert what in found


def test_paths_without_pictures_are_told(tmp_path):
    assert lines(tmp_path / "gone") == (
        f"data.path: {tmp_path / 'gone'} does not exist; give a folder of pictures",
    )
    assert "is no folder" in lines(picture(tmp_path / "a.png"))[0]
    (tmp_path / "empty").mkdir()
    assert lines(tmp_path / "empty")[0].startswith(f"data.path: {tmp_path / 'empty'} holds no picture")


def test_a_picture_too_small_for_any_size_is_told(tmp_path):
    picture(tmp_path / "a.png", size=(5, 50))
    assert "a.png: its shortest side has 5 pixels" in lines(tmp_path)[0]
    ImageFolder(str(tmp_path), size=8).check()


def test_num_classes_without_labels_is_told(tmp_path):
    picture(tmp_path / "a.png")
    assert lines(tmp_path, num_classes=3)[0].startswith("data.num_classes: 3, but no picture has a label")


def test_a_tolerated_share_is_left_out_and_listed(tmp_path):
    bad = classes(tmp_path) / "cats" / "bad.png"
    bad.write_bytes(b"no")
    assert len(lines(tmp_path, max_bad=0.04)) == 1  # 1 of 21
    info = ImageFolder(str(tmp_path), max_bad=0.05).info()
    assert info.num_train + info.num_held_out == 20
    assert info.left_out == [
        f"{tmp_path / 'cats' / 'bad.png'}: is no picture; png, jpg, jpeg and webp are read"
    ]


def test_a_link_that_leads_in_a_circle_is_followed_once(tmp_path):
    root = classes(tmp_path, 3)
    (root / "cats" / "again").symlink_to(root)
    assert len(everything(ImageFolder(str(root)))) == 6


def test_a_link_that_leads_nowhere_is_told(tmp_path):
    (classes(tmp_path, 3) / "cats" / "x.png").symlink_to(tmp_path / "gone")
    assert "x.png: cannot be read (No such file" in lines(tmp_path)[0]


def test_prepared_shards_tell_what_they_are(tmp_path):
    source = ImageFolder(str(classes(tmp_path / "a")))
    info = prepare(source, tmp_path / "out")
    assert DataInfo.read(tmp_path / "out") == info == source.info()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"data.json", "train-000000.tar", "index-train.jsonl", "index-held_out.jsonl"} <= names


def test_a_white_background_replaces_transparency(tmp_path):
    picture(tmp_path / "a.png", "RGBA")
    np.testing.assert_array_equal(everything(ImageFolder(str(tmp_path)))[0].image, 255)
