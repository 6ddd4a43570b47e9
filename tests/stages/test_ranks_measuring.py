"""Several processes measure what one does: samples while a denoiser trains, and what a study has made."""

import json
from hashlib import sha256

import pytest
import torch
from safetensors.torch import load_file, save_file

from condiff.errors import DataError
from condiff.stages.stage import LOG, PER_SAMPLE, PICTURES_MADE, Artifact, Runtime
from condiff.stages.study import STAGES
from condiff.stages.watch import Watch
from tests.stages import small
from tests.stages.rank_work import WATCHED

(METRICS,) = (stage for stage in STAGES if stage.name == "metrics")
OF = "condiff.evaluation"
FRECHET = {"_target_": f"{OF}.frechet.FrechetDistance"}
NODES = {
    "every": 2,
    "class_accuracy": {"_target_": f"{OF}.accuracy.ClassAccuracy"},
    "condition_use": {"_target_": f"{OF}.condition_check.ConditionUse"},
    "fd_judge": {**FRECHET, "bootstrap": 10},
    "fd_judge_floor": {**FRECHET, "fake": "held_out"},
    "kid_judge": {"_target_": f"{OF}.kernel.KernelDistance"},
}
ENDS = {
    "prdc_judge": {"_target_": f"{OF}.precision_recall.PrecisionRecall"},
    "memorisation_judge": {"_target_": f"{OF}.memorisation.Memorisation"},
    "is_judge": {"_target_": f"{OF}.inception_score.InceptionScore", "splits": 2},
    "edge_f1": {"_target_": f"{OF}.paired.EdgeF1"},
    "psnr": {"_target_": f"{OF}.paired.PeakSignalNoise"},
}
WATCH = {
    "text": None,
    "label": None,
    "metrics": NODES,
    "seed": 0,
    "guidance": {"_target_": "condiff.diffusion.guidance.ClassifierFree", "scale": 2.0},
    "sampler": {
        "_target_": "condiff.diffusion.samplers.DDIM",
        "steps": 3,
        "grid": {"_target_": "condiff.diffusion.grids.UniformTime"},
    },
}


@pytest.fixture
def inputs(tmp_path):
    return small.judged(tmp_path)


def made(num, folder):
    """Samples of digits, and what they should look like."""
    folder.mkdir()
    torch.manual_seed(2)
    images = torch.randint(256, (2, num, 1, 8, 8), dtype=torch.uint8)
    stored = {"image": images[0], "target": images.amax(0), "label": torch.arange(num) % 10}
    save_file(stored, folder / PICTURES_MADE)
    (folder / "manifest.json").write_text("{}")
    return Artifact("samples", folder, {})


def measured(nodes, inputs, out, devices):
    (out / "moments").mkdir(parents=True)
    runtime = Runtime(accelerator="cpu", devices=devices, statistics=out / "moments")
    METRICS.run({"metrics": nodes}, inputs, runtime, out)
    values = load_file(out / PER_SAMPLE)
    return json.loads((out / "metrics.json").read_text()), values, [*(out / "moments").glob("*.npz")]


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, entry in expected.items():
        assert found[name]["value"] == pytest.approx(entry["value"], rel=1e-6, abs=1e-9), name
        assert found[name]["interval"] == (entry["interval"] and pytest.approx(entry["interval"], rel=1e-6))
        assert [found[name][key] for key in ("n", "protocol")] == [entry[key] for key in ("n", "protocol")]


def hold_to_one(num, devices, nodes, inputs, tmp_path):
    """The metrics stage on several processes and on one."""
    inputs = {**inputs, "samples": made(num, tmp_path / "samples")}
    alone, each, left = measured(nodes, inputs, tmp_path / "one", 1)
    together, of_all, found = measured(nodes, inputs, tmp_path / "all", devices)
    same(together, alone)
    assert [*each] == [*of_all]
    for name, values in each.items():  # a distance of sums that were added in another order
        tolerance = {"rtol": 1e-6, "atol": 1e-9} if name.startswith("fd") else {"rtol": 0, "atol": 0}
        assert len(values) == num
        torch.testing.assert_close(of_all[name], values, **tolerance)
    assert (len(left), [file.name for file in found]) == (1, [file.name for file in left])
    again = measured(nodes, inputs, tmp_path / "moments of all", 1)
    same(again[0], alone)
    return alone, each


def test_two_processes_share_the_metrics_of_an_odd_number_of_samples(inputs, tmp_path):
    alone, each = hold_to_one(51, 2, {**NODES, **ENDS}, inputs, tmp_path)
    assert {*each} == {"class_accuracy", "edge_f1", "fd_judge"}
    assert len(alone) == 15


@pytest.mark.slow
def test_a_process_without_a_sample_takes_part(inputs, tmp_path):
    nodes = {name: NODES[name] for name in ("class_accuracy", "condition_use", "fd_judge", "kid_judge")}
    alone, _ = hold_to_one(2, 3, nodes, inputs, tmp_path)
    assert "fd_judge_biased_n2" in alone


def damage(data):
    """Make the last training picture unreadable, as if it had been so when it was prepared."""
    index = data.path / "index-train.jsonl"
    *rows, shard, last = map(json.loads, index.read_text().splitlines())
    (name,) = (member for member in rows[-1]["members"] if member.endswith("png"))
    offset, size = rows[-1]["members"][name]
    content = bytearray((data.path / shard["shard"]).read_bytes())
    content[offset : offset + size] = bytes(size)
    (data.path / shard["shard"]).write_bytes(content)
    shard["sha256"] = sha256(content).hexdigest()
    index.write_text("".join(json.dumps(row) + "\n" for row in (*rows, shard, last)))


@pytest.mark.slow
def test_a_picture_that_one_process_cannot_read_is_one_line(inputs, tmp_path):
    inputs = {**inputs, "samples": made(5, tmp_path / "samples")}
    damage(inputs["data"])
    with pytest.raises(DataError, match=r"^error\[3\]: .*train-000000.tar.*\.png") as caught:
        measured(NODES, inputs, tmp_path / "out", 2)
    assert len(str(caught.value).splitlines()) == 1
    assert not hasattr(caught.value, "__notes__")


def watched(num, devices, inputs, out):
    """What was measured at the end of a training, and what one process measures of its averaged weights."""
    out.mkdir()
    watch, shape = {**WATCH, "num_samples": num}, [1, 8, 8]
    runtime = Runtime(accelerator="cpu", devices=devices)
    WATCHED.run({"steps": 4, "shape": shape, "watch": watch}, inputs, runtime, out)
    rows = [json.loads(line) for line in (out / "watched" / LOG).read_text().splitlines()]
    measured = [row for row in rows if "class_accuracy" in row]
    assert [row["step"] for row in measured] == [2, 4]
    method = small.method(4)
    method.denoiser.network.load_state_dict(load_file(out / "watched" / "ema.safetensors"))
    look = Watch(watch, inputs, Runtime(accelerator="cpu"))
    expected = look((method.denoiser, method.conditioner, shape))(method.denoiser.network.eval())
    return {name: value for name, value in measured[-1].items() if name not in ("stage", "step")}, expected


@pytest.mark.slow
def test_two_processes_draw_and_measure_an_odd_number_of_samples_while_they_train(inputs, tmp_path):
    found, expected = watched(5, 2, inputs, tmp_path / "out")
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)
    average = load_file(tmp_path / "out" / "watched" / "ema.safetensors")
    for rank in range(2):
        weights = load_file(tmp_path / "out" / f"measured{rank}.safetensors")
        assert all(torch.equal(value, average[name]) for name, value in weights.items()), rank
    for name in ("weights", "ema"):
        plain, seen = (
            load_file(tmp_path / "out" / kind / f"{name}.safetensors") for kind in ("plain", "watched")
        )
        assert all(torch.equal(value, seen[key]) for key, value in plain.items())


@pytest.mark.slow
def test_three_processes_draw_and_measure_two_samples(inputs, tmp_path):
    found, expected = watched(2, 3, inputs, tmp_path / "out")
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)
