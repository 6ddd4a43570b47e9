"""Pictures of whatever program: all of them, each once, as they are."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from condiff.data import picture_sets
from condiff.data.picture_sets import open_pictures
from condiff.data.source import DataInfo
from condiff.errors import DataError


def numbered(n, height=4, width=5, channels=3, first=0):
    """Pictures told apart by their first pixel."""
    images = np.random.default_rng(0).integers(0, 256, (n, height, width, channels), dtype=np.uint8)
    images[:, 0, 0, 0] = first + np.arange(n)
    return images


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)


def test_a_folder_of_several_sizes_and_modes_is_seen_whole_and_each_picture_once(tmp_path):
    for i, image in enumerate(numbered(5)):
        save(tmp_path / f"{i}.png", image)
    for i, image in enumerate(numbered(3, 6, 6, 1, first=100)):
        save(tmp_path / "below" / f"{i}.PNG", image)
    (tmp_path / "notes.txt").write_text("no picture")
    save(tmp_path / ".thumbnails" / "0.png", numbered(1)[0])
    found = open_pictures(str(tmp_path), "images")
    batches = [images for images, _ in found.batches(2)]
    assert found.count == 8
    assert sorted(map(len, batches)) == [1, 1, 2, 2, 2]
    first = sorted(int(v) for images in batches for v in images[:, 0, 0, 0])
    assert first == [0, 1, 2, 3, 4, 100, 101, 102]
    seen = next(images for images in batches if images.shape[1:] == (3, 4, 5))
    assert torch.equal(seen[0], torch.from_numpy(numbered(5)[int(seen[0, 0, 0, 0])]).movedim(-1, 0))


def test_class_folders_are_classes_where_all_are_known(tmp_path):
    for name in ("cat", "dog"):
        save(tmp_path / name / "1.png", numbered(1)[0])
    found = open_pictures(str(tmp_path), "images")
    assert found.labelled(["bird", "cat", "dog"])
    assert not found.labelled(["cat"])
    assert sorted(name for _, names in found.batches(9) for name in names) == ["cat", "dog"]


def test_an_npz_of_samples_is_read_part_by_part(tmp_path):
    images = numbered(7)
    for path, store in (("a.npz", np.savez), ("b.npz", np.savez_compressed)):
        store(tmp_path / path, arr_0=images, arr_1=np.arange(7))
        found = open_pictures(str(tmp_path / path), "images")
        parts = [part for part, _ in found.batches(3)]
        assert (found.count, [*map(len, parts)]) == (7, [3, 3, 1])
        assert np.array_equal(torch.cat(parts).movedim(1, -1).numpy(), images)
        assert np.array_equal(np.stack(found.some(2)), images[:2])
        assert torch.cat([label for _, label in found.batches(3)]).tolist() == [*range(7)]
        assert [found.labelled([*"abcdefgh"[:k]]) for k in (0, 6, 7, 8)] == [False, False, True, True]
        assert found.classes() == []
    np.savez(tmp_path / "c.npz", arr_0=images)
    plain = open_pictures(str(tmp_path / "c.npz"), "images")
    assert not plain.labelled([*"abcdefg"])
    assert [label for _, label in plain.batches(5)] == [[None] * 5, [None] * 2]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.arange(6), r"arr_1 must be \[7\] integers, a class for each picture, got \[6\] int64"),
        (np.arange(7.0), r"got \[7\] float64"),
        (np.zeros((7, 1), np.int32), r"got \[7, 1\] int32"),
        (np.array([*"abcdefg"]), r"got \[7\] <U1"),
        (np.array([{}] * 7), r"got \[7\] object"),
        (np.arange(7) - 1, "arr_1 must be numbers of classes, got -1"),
    ],
)
def test_labels_that_are_none_are_refused(tmp_path, labels, said):
    np.savez(tmp_path / "a.npz", arr_0=numbered(7), arr_1=labels)
    with pytest.raises(DataError, match=rf"^error\[3\]: images: .*a\.npz: .*{said}") as caught:
        open_pictures(str(tmp_path / "a.npz"), "images")
    assert len(str(caught.value).splitlines()) == 1


def test_a_finished_run_gives_its_samples_with_their_classes(tmp_path):
    run, stage = tmp_path / "run", tmp_path / "stage"
    stage.mkdir()
    run.mkdir()
    images, label = torch.from_numpy(numbered(5)).movedim(-1, 1).contiguous(), torch.arange(5) % 2
    save_file({"image": images, "label": label}, stage / "samples.safetensors")
    DataInfo(2, ["cat", "dog"], 3, 4, 8, 8, False, "none", []).write(stage)
    (run / "stages.json").write_text(json.dumps({key: {"path": str(stage)} for key in ("data", "samples")}))
    found = open_pictures(str(run), "images")
    parts = [*found.batches(2)]
    assert torch.equal(torch.cat([part for part, _ in parts]), images)
    assert torch.equal(torch.cat([said for _, said in parts]), label)
    assert found.where == str(run)
    assert found.labelled(["cat", "dog"])
    assert not found.labelled(["dog", "cat"])  # the same numbers of another study mean something else
    assert not found.labelled([])
    assert found.captions() is None
    (stage / "samples.safetensors").unlink()
    with pytest.raises(DataError, match=r"images: .*run: its samples are no longer in the cache"):
        open_pictures(str(run), "images")


def test_pictures_of_many_sizes_do_not_all_wait_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_sets, "_WAITING", 1000)
    for i in range(20):
        save(tmp_path / f"{i:02}.png", numbered(1, 8 + i, 8)[0])
    found = open_pictures(str(tmp_path), "images")
    assert not found.uniform()
    decode, decoded = picture_sets._decoded, []
    monkeypatch.setattr(picture_sets, "_decoded", lambda path: decoded.append(path) or decode(path))
    monkeypatch.setattr(picture_sets, "in_order", map)
    batches = found.batches(50)
    first = next(batches)[0]
    assert (len(first), len(decoded)) == (1, 5)  # 24 bytes a row: 8 to 12 rows are over 1000
    assert 1 + sum(len(images) for images, _ in batches) == 20


def test_a_damaged_npz_is_the_datas_fault(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", arr_0=numbered(500))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[:2000] + bytes(200) + whole[2200:])
    with pytest.raises(DataError, match=r"a\.npz"):
        list(open_pictures(str(tmp_path / "a.npz"), "images").batches(100))
    np.savez(tmp_path / "flat.npz", arr_0=np.zeros((2, 0, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"must be \[N, H, W, C\] uint8"):
        open_pictures(str(tmp_path / "flat.npz"), "images")


def test_what_holds_no_pictures_is_refused_under_its_key(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stages.json").write_text("{}")
    for name, file in (("sweep", "sweep.json"), ("failed", "overrides.json")):
        save(tmp_path / name / "samples.png", numbered(1)[0])
        (tmp_path / name / file).write_text("")
    np.savez(tmp_path / "moments.npz", mu=np.zeros(3), sigma=np.eye(3))
    np.savez(tmp_path / "floats.npz", arr_0=np.zeros((2, 4, 4, 3)))
    np.savez(tmp_path / "first.npz", arr_0=np.zeros((2, 3, 4, 4), np.uint8))
    np.savez(tmp_path / "else.npz", images=numbered(2))
    (tmp_path / "broken.npz").write_bytes(b"PK")
    (tmp_path / "file.txt").write_text("")
    said = {
        "empty": "holds no picture",
        "run": "is a run without samples",
        "sweep": "is the folder of a sweep; give one of its runs, such as .*0",
        "failed": "is a run that did not finish",
        "moments.npz": "has no arr_0; it holds statistics, which are a reference",
        "floats.npz": r"must be \[N, H, W, C\] uint8 with C 1 or 3, got \[2, 4, 4, 3\] float64",
        "first.npz": r"got \[2, 3, 4, 4\] uint8",
        "else.npz": "has no arr_0",
        "broken.npz": "cannot be read as .npz",
        "file.txt": "is neither a folder nor an .npz",
        "gone": "does not exist",
    }
    for name, why in said.items():
        with pytest.raises(DataError, match=rf"images: .*{name} ?:? ?.*{why}.*; give a folder of pictures"):
            open_pictures(str(tmp_path / name), "images")


def test_a_damaged_picture_is_named(tmp_path):
    save(tmp_path / "1.png", numbered(1)[0])
    (tmp_path / "2.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"2\.png: is no picture"):
        list(open_pictures(str(tmp_path), "images").batches(9))


SAID = {
    "metadata.jsonl": '{"file_name": "b/1.png", "text": "one"}\n{"file_name": "0.png", "text": "nought"}\n',
    "metadata.csv": "file_name,text\nb/1.png,one\n0.png,nought\n",
}


@pytest.mark.parametrize("where", [*SAID, "sidecars"])
def test_captions_beside_pictures_are_in_their_order(tmp_path, where):
    save(tmp_path / "b" / "1.png", numbered(1)[0])
    save(tmp_path / "0.png", numbered(1)[0])
    assert open_pictures(str(tmp_path), "images").captions() is None
    texts = {where: SAID[where]} if where in SAID else {"0.txt": "nought\n", "b/1.txt": "one"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    found = open_pictures(str(tmp_path), "images")
    assert found.names == ["0", "b/1"]
    assert found.captions() == ["nought", "one"]


def test_labels_alone_are_no_captions(tmp_path):
    save(tmp_path / "0.png", numbered(1)[0])
    (tmp_path / "metadata.csv").write_text("file_name,label\n0.png,3\n")
    assert open_pictures(str(tmp_path), "images").captions() is None


def test_a_picture_without_a_caption_among_others_is_told(tmp_path):
    for name in ("0.png", "1.png"):
        save(tmp_path / name, numbered(1)[0])
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "nought"}\n')
    with pytest.raises(DataError, match=r"1.png: has no row in metadata.jsonl; every picture needs one"):
        open_pictures(str(tmp_path), "images").captions()
