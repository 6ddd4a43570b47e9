"""Measuring pictures that are there already: the same numbers, whatever they lie in."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from condiff.data.captions import as_bytes
from condiff.data.shapes import Shapes
from condiff.errors import ConfigError, DataError
from condiff.evaluation.features.efficientnet_lite0 import EfficientNetLite0Body
from condiff.evaluation.frechet import frechet_distance, moments
from condiff.stages import reference as stage
from condiff.stages import statistics
from condiff.stages.evaluation import measure
from condiff.stages.evaluation import moments as write_moments
from condiff.stages.fingerprint import reached
from condiff.stages.judge import load_judge
from condiff.stages.metrics import metrics_of
from condiff.stages.outside import of_evaluation
from condiff.stages.pictures import from_uint8
from condiff.stages.stage import Runtime
from tests.stages import small

FRECHET = {"_target_": "condiff.evaluation.frechet.FrechetDistance"}
BODY = {
    "_target_": "condiff.evaluation.features.efficientnet_lite0.EfficientNetLite0Body",
    "resolution": 32,
}
FD = {**FRECHET, "extractor": BODY}
FLOOR = {**FD, "fake": "held_out"}
KID = {"_target_": "condiff.evaluation.kernel.KernelDistance", "extractor": BODY}


@pytest.fixture
def folders(tmp_path):
    """Two sets of pictures, each as a folder and as an .npz."""
    draw = np.random.default_rng(0)
    for name, n, top in (("fake", 5, 200), ("real", 7, 256)):
        images = draw.integers(0, top, (n, 12, 9, 3), dtype=np.uint8)
        np.savez(tmp_path / f"{name}.npz", arr_0=images)
        (tmp_path / name).mkdir()
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    return tmp_path


def measured(folder, images, reference, runtime=None, **metrics):
    out = folder / "out"
    out.mkdir(exist_ok=True)
    cfg = {"images": str(folder / images), "reference": str(folder / reference), "metrics": metrics}
    runtime = runtime or Runtime(accelerator="cpu")
    (write_moments if images == "" else measure)(cfg, {}, runtime, out)
    return out


def told(out):
    return json.loads((out / "metrics.json").read_text())


def test_a_folder_and_an_npz_of_the_same_pictures_are_measured_alike_and_as_by_hand(folders):
    by_folder = told(measured(folders, "fake", "real", fd=FD, kid=KID))
    by_npz = told(measured(folders, "fake.npz", "real.npz", fd=FD, kid=KID))
    assert {name: entry["value"] for name, entry in by_folder.items()} == pytest.approx(
        {name: entry["value"] for name, entry in by_npz.items()}, rel=1e-9
    )
    look = EfficientNetLite0Body(resolution=32)
    features = []
    for name in ("fake", "real"):
        images = torch.from_numpy(np.load(folders / f"{name}.npz")["arr_0"]).movedim(-1, 1)
        features.append(moments(look(images.float() / 127.5 - 1)))
    expected = float(frechet_distance(*features[0], *features[1]))
    (entry,) = (entry for name, entry in by_folder.items() if name.startswith("fd"))
    assert entry["value"] == pytest.approx(expected, rel=1e-6)
    assert entry["n"] == 5
    assert entry["protocol"].endswith(f"; samples: 5 of {folders / 'fake'}; train: 7 of {folders / 'real'}")


def test_statistics_stand_for_the_pictures_they_are_of(folders):
    expected = told(measured(folders, "fake", "real", fd=FD))
    out = measured(folders, "", "real", fd=FD, other=FD)
    assert [file.name for file in out.glob("*.npz")] == ["fd.npz"]
    found = told(measured(folders, "fake", "out/fd.npz", fd=FD))
    assert {k: v["value"] for k, v in found.items()} == {k: v["value"] for k, v in expected.items()}


def test_a_reference_is_looked_at_once(folders, monkeypatch):
    runtime = Runtime(accelerator="cpu", statistics=folders / "cache" / "statistics")
    first = told(measured(folders, "fake", "real", runtime, fd=FD))
    seen = []
    shown = stage.shown
    monkeypatch.setattr(stage, "shown", lambda *a: seen.append(a[0].where) or shown(*a))
    assert told(measured(folders, "fake", "real", runtime, fd=FD)) == first
    assert seen == []
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(folders / "real" / "0.png")
    assert told(measured(folders, "fake", "real", runtime, fd=FD)) != first
    assert seen == [str(folders / "real")]


def test_what_cannot_be_served_is_left_out_and_told(folders, caplog):
    caplog.set_level("WARNING")
    found = told(measured(folders, "fake", "real", fd=FD, fd_floor=FLOOR))
    assert [name.partition("_")[0] for name in found] == ["fd"]
    assert caplog.messages == ["left out: metrics.fd_floor needs held_out pictures (reference=data has them)"]
    with pytest.raises(ConfigError, match=r"serves none of them; metrics\.fd_floor needs held_out"):
        measured(folders, "fake", "real", fd_floor=FLOOR)


def test_statistics_serve_the_metrics_whose_features_they_are_of_and_the_others_are_told(folders, caplog):
    measured(folders, "", "real", fd=FD)
    other = {**FD, "extractor": {**BODY, "resolution": 64}}
    caplog.set_level("WARNING")
    found = told(measured(folders, "fake", "out/fd.npz", fd=FD, other=other))
    assert [name.partition("_")[0] for name in found] == ["fd"]
    assert "reference: for metrics.other" in caplog.messages[0]
    assert "has the statistics of other features" in caplog.messages[0]
    assert caplog.messages[1] == "left out: metrics.other needs train pictures"


PSNR = {"_target_": "condiff.evaluation.paired.PeakSignalNoise"}


def test_pictures_of_one_name_in_two_folders_are_pairs(folders):
    for i in (5, 6):
        (folders / "real" / f"{i}.png").unlink()
    Image.open(folders / "real" / "0.png").save(folders / "real" / "0.webp", lossless=True)
    (folders / "real" / "0.png").unlink()
    images = [np.load(folders / f"{name}.npz")["arr_0"][:5] / 255 for name in ("fake", "real")]
    expected = -10 * np.log10(((images[0] - images[1]) ** 2).mean())
    found = told(measured(folders, "fake", "real", psnr=PSNR))
    assert found["psnr"]["value"] == pytest.approx(expected, rel=1e-5)
    assert found["psnr"]["n"] == 5


def test_a_picture_without_a_pair_is_named(folders, caplog):
    with pytest.raises(DataError, match=r"paired by name, and 5 is in .*real only \(2 such\)"):
        measured(folders, "fake", "real", psnr=PSNR)
    caplog.set_level("WARNING")
    measured(folders, "fake.npz", "real.npz", psnr=PSNR, fd=FD)
    assert caplog.messages == [
        "left out: metrics.psnr needs targets pictures (two folders whose pictures have the same names)"
    ]


def test_statistics_of_other_features_are_refused_by_name(folders):
    np.savez(folders / "other.npz", mu=np.zeros(2048), sigma=np.eye(2048))
    with pytest.raises(DataError, match=r"reference: for metrics\.fd, .*has mu of \[2048\]"):
        measured(folders, "fake", "other.npz", fd=FD)


def test_a_metric_that_needs_the_pictures_is_left_out_where_there_are_statistics_only(folders, caplog):
    out = measured(folders, "", "real", fd=FD)
    caplog.set_level("WARNING")
    measured(folders, "fake", "out/fd.npz", fd=FD, kid=KID)
    assert caplog.messages == ["left out: metrics.kid needs train pictures"]
    assert Image.open(out / "images.png").size == (5 * 64 + 4 * 2, 64)


def test_an_evaluation_is_known_by_the_content_of_what_it_measures(folders):
    cfg = {"images": str(folders / "fake"), "reference": str(folders / "real"), "metrics": {"fd": FD}}
    first = of_evaluation(cfg, folders / "cache")
    assert of_evaluation(cfg, folders / "cache") == first
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(folders / "fake" / "0.png")
    second = of_evaluation(cfg, folders / "cache")
    (folders / "real" / "6.png").unlink()
    assert len({first, second, of_evaluation(cfg, folders / "cache")}) == 3


def test_a_folder_that_is_called_data_is_a_folder_where_pictures_are_asked_for(folders, monkeypatch):
    monkeypatch.chdir(folders)
    (folders / "fake").rename(folders / "data")
    cfg = {"images": "data", "reference": "real", "metrics": {}}
    first = of_evaluation(cfg, folders / "cache")
    (folders / "data" / "0.png").unlink()
    assert of_evaluation(cfg, folders / "cache") != first


def test_stored_moments_are_of_the_code_that_looks_now(folders, monkeypatch):
    runtime = Runtime(accelerator="cpu", statistics=folders / "cache" / "moments")
    measured(folders, "fake", "real", runtime, fd=FD)
    (stored,) = (folders / "cache" / "moments").glob("*.npz")
    monkeypatch.setattr(statistics, "fingerprint", lambda *modules: "another")
    measured(folders, "fake", "real", runtime, fd=FD)
    assert len([*(folders / "cache" / "moments").glob("*.npz")]) == 2
    stored.write_bytes(b"damaged")
    monkeypatch.undo()
    measured(folders, "fake", "real", runtime, fd=FD)
    assert stored.read_bytes() != b"damaged"


def test_the_code_of_moments_is_that_of_network_resize_and_reading():
    modules = []
    extractor = metrics_of({"fd": FD}, {}, torch.device("cpu"))["fd"].extractor
    modules = reached(*extractor.code, *statistics._READERS)
    for module in ("features.preprocess", "features.efficientnet_lite0", "frechet"):
        assert f"condiff.evaluation.{module}" in modules
    assert "condiff.data.pictures" in modules


def test_pictures_of_several_sizes_have_distances_and_no_pairs(folders, caplog):
    Image.fromarray(np.zeros((9, 20, 3), np.uint8)).save(folders / "fake" / "5.png")
    diversity = {
        "_target_": "condiff.evaluation.pairwise.PairwiseDiversity",
        "distance": {
            "_target_": "condiff.evaluation.features.perceptual.EfficientNetLite0Distance",
            "resolution": 32,
        },
    }
    caplog.set_level("WARNING")
    found = told(measured(folders, "fake", "real", fd=FD, diversity=diversity))
    assert next(iter(found.values()))["n"] == 6
    assert caplog.messages == ["left out: metrics.diversity needs pictures of one size"]


def test_one_picture_is_no_reference(folders):
    for i in range(1, 7):
        (folders / "real" / f"{i}.png").unlink()
    runtime = Runtime(accelerator="cpu", statistics=folders / "cache" / "moments")
    for images in ("fake", ""):
        with pytest.raises(DataError, match=r"metrics\.fd: .* needs at least 2 train pictures, got 1"):
            measured(folders, images, "real", runtime, fd=FD)


def test_pictures_stand_for_statistics_of_other_features_beside_them(folders, caplog):
    expected = told(measured(folders, "fake", "real", fd=FD))
    np.savez(
        folders / "adm.npz", arr_0=np.load(folders / "real.npz")["arr_0"], mu=np.zeros(9), sigma=np.eye(9)
    )
    caplog.set_level("WARNING")
    found = told(measured(folders, "fake", "adm.npz", fd=FD))
    assert [e["value"] for e in found.values()] == pytest.approx(
        [e["value"] for e in expected.values()], rel=1e-9
    )
    assert "its pictures are measured instead" in caplog.messages[0]


def test_a_metric_with_statistics_of_its_own_does_not_claim_the_reference(folders):
    out = measured(folders, "", "real", fd=FD)
    own = {**FD, "statistics": str(out / "fd.npz")}
    (entry,) = told(measured(folders, "fake", "real", fd=own)).values()
    assert entry["protocol"].endswith(f"; samples: 5 of {folders / 'fake'}")


def test_samples_of_an_npz_with_labels_are_judged(tmp_path, caplog):
    """Half of the labels are what the judge says, and half are not."""
    inputs = small.judged(tmp_path)
    judge = load_judge(inputs["judge"], inputs["data"])
    pictures = np.random.default_rng(0).integers(0, 256, (21, 8, 8, 1), dtype=np.uint8)
    with torch.no_grad():
        said = judge.logits(from_uint8(torch.from_numpy(pictures).movedim(-1, 1))).argmax(1).numpy()
    asked = np.where(np.arange(21) < 11, said, (said + 1) % 10)
    metrics = {"class_accuracy": {"_target_": "condiff.evaluation.accuracy.ClassAccuracy"}, "fd": FRECHET}
    cfg = {"images": str(tmp_path / "a.npz"), "reference": "data", "metrics": metrics}
    np.savez(tmp_path / "a.npz", arr_0=pictures, arr_1=asked)
    measure(cfg, inputs, Runtime(accelerator="cpu"), tmp_path)
    assert (told(tmp_path)["class_accuracy"]["value"], told(tmp_path)["class_accuracy"]["n"]) == (11 / 21, 21)
    first = told(tmp_path)["class_accuracy"]["value"]
    np.savez(tmp_path / "a.npz", arr_0=pictures.repeat(3, axis=-1), arr_1=asked)  # grey, in three channels
    measure(cfg, inputs, Runtime(accelerator="cpu"), tmp_path)
    assert told(tmp_path)["class_accuracy"]["value"] == first
    pictures[0, 0, 0] = 7
    coloured = np.concatenate([pictures, pictures, 255 - pictures], axis=-1)
    np.savez(tmp_path / "a.npz", arr_0=coloured, arr_1=asked)
    with pytest.raises(DataError, match=r"sees pictures of \[1, 8, 8\], got \[3, 8, 8\]"):
        measure(cfg, inputs, Runtime(accelerator="cpu"), tmp_path)
    np.savez(tmp_path / "a.npz", arr_0=pictures)
    caplog.set_level("WARNING")
    measure(cfg, inputs, Runtime(accelerator="cpu"), tmp_path)
    assert [*told(tmp_path)] == ["fd"]
    assert caplog.messages == ["left out: metrics.class_accuracy needs labels that are classes of the data"]


def test_a_metric_that_asks_for_more_pictures_is_left_out_and_the_others_are_told(folders, caplog):
    infinity = {**FD, "_target_": "condiff.evaluation.frechet_infinity.FrechetInfinity"}
    caplog.set_level("WARNING")
    found = told(measured(folders, "fake", "real", fd=FD, endless=infinity))
    assert [*found] == [name for name in told(measured(folders, "fake", "real", fd=FD))]
    assert caplog.messages[0].startswith("left out: metrics.endless: FrechetInfinity")
    with pytest.raises(DataError, match=r"metrics\.endless: FrechetInfinity"):
        measured(folders, "fake", "real", endless=infinity)


ADHERENCE = {"_target_": "condiff.evaluation.adherence.Adherence"}


def shapes_in(folder, captions):
    """Drawn pictures under names whose order is not that of their captions."""
    folder.mkdir()
    lines = []
    for i, caption in enumerate(captions):
        example = Shapes().example("held_out", i)
        name = f"{(7 * i) % 10}.png"
        Image.fromarray(example.image).save(folder / name)
        lines.append(json.dumps({"file_name": name, "text": caption or example.text}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def test_pictures_in_a_folder_are_held_to_their_captions(folders):
    shapes_in(folders / "shapes", [None] * 6 + ["a small red circle"] * 2)
    found = told(measured(folders, "shapes", "real", adherence=ADHERENCE))
    assert found["adherence"]["n"] == 8
    assert found["adherence"]["value"] == 6 / 8
    assert found["adherence_place"]["value"] == found["adherence_relation"]["value"] == 1


def test_pictures_of_a_run_are_held_to_the_captions_that_they_were_asked_for(folders):
    run, stage = folders / "run", folders / "stage"
    shapes, captions = Shapes(), [None] * 6 + ["a small red circle"] * 2
    examples = [shapes.example("held_out", i) for i in range(8)]
    for folder in (run, stage):
        folder.mkdir()
    shapes.info().write(stage)
    stored = {
        "image": torch.from_numpy(np.stack([example.image for example in examples])).movedim(-1, 1),
        "label": torch.tensor([example.label for example in examples]),
        "text": torch.from_numpy(
            as_bytes([said or str(one.text) for said, one in zip(captions, examples, strict=True)])
        ),
    }
    save_file({name: part.contiguous() for name, part in stored.items()}, stage / "samples.safetensors")
    (run / "stages.json").write_text(json.dumps({key: {"path": str(stage)} for key in ("data", "samples")}))
    found = told(measured(folders, "run", "real", adherence=ADHERENCE))
    assert (found["adherence"]["n"], found["adherence"]["value"]) == (8, 6 / 8)
    # a red circle is in no training picture, as is one thing of every other held-out one
    assert (found["adherence_unseen"]["n"], found["adherence_unseen"]["value"]) == (5, 3 / 5)
    assert (found["adherence_seen"]["n"], found["adherence_seen"]["value"]) == (3, 1)


def test_without_captions_nothing_is_held_to_them(folders):
    with pytest.raises(
        ConfigError, match=r"adherence needs captions \(metadata.jsonl beside the pictures, or a"
    ):
        measured(folders, "fake", "real", adherence=ADHERENCE)


def test_captions_of_something_else_are_one_line(folders):
    shapes_in(folders / "shapes", [None, "a cat"])
    with pytest.raises(DataError, match=r"metrics.adherence: 'a cat' is no caption of shapes"):
        measured(folders, "shapes", "real", adherence=ADHERENCE)
