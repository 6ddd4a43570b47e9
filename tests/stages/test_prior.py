"""What a base draws of a class, once, and what an adapter learns beside it."""
# ruff: noqa: F811  a fixture of another file is an argument

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from condiff.data.dataset import ShardDataset
from condiff.data.source import DataInfo
from condiff.diffusion.randomness import step_seed
from condiff.stages import adapter, prior, samples
from condiff.stages.adapted import FILE
from condiff.stages.pictures import to_uint8
from condiff.stages.stage import LOG, PICTURES_MADE, Artifact, Runtime
from condiff.stages.study import STAGES
from tests.stages.test_adapter import BASE, LOW_RANK, config, inputs, of  # noqa: F401  the fixture of a base

CPU = Runtime(accelerator="cpu")
DRAWN = {
    "text": None,
    "label": [3, 8],
    "guidance": of("diffusion.guidance", "ClassifierFree", scale=2.0),
    "sampler": of("diffusion.samplers", "DDIM", steps=2),
}


@pytest.fixture(scope="module")
def drawn(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("prior")
    cfg = {"seed": 5, "sample_precision": "32-true", "prior": {**DRAWN, "num": 6}}
    prior.draw(cfg, inputs, CPU, out)
    return Artifact(f"prior {out}", out, {})


def test_its_pictures_are_those_that_samples_of_the_base_would_be(inputs, drawn, tmp_path):
    unasked = dict.fromkeys(("checkpoint", "average", "adapters", "class_text"))
    own = {"seed": step_seed(5, 0, "prior"), "num_samples": 6, "sample_precision": "32-true"}
    cfg = {**DRAWN, **own, **unasked}
    samples.draw(cfg, inputs, CPU, tmp_path)
    wanted = load_file(tmp_path / PICTURES_MADE)
    data = ShardDataset(drawn.path, "train")
    batch = data.__getitems__([(0, row, row) for row in range(6)])
    assert torch.equal(to_uint8(batch["image"]), wanted["image"])
    (tmp_path / "same").mkdir()
    samples.draw({**cfg, "seed": 5}, inputs, CPU, tmp_path / "same")
    measured = load_file(tmp_path / "same" / PICTURES_MADE)["image"]
    assert not any(torch.equal(one, other) for one, other in zip(measured, wanted["image"], strict=True))
    assert batch["label"].tolist() == wanted["label"].tolist() == [3, 8] * 3
    info = DataInfo.read(drawn.path)
    assert (info.num_train, info.num_held_out, info.num_classes) == (6, 0, 10)
    assert info.source == "6 pictures that the base drew"


def trained(inputs, out, weight=None):
    out.mkdir()
    cfg = config()
    cfg["adapter"]["trainer"] = {**cfg["adapter"]["trainer"], "log_every": 1}
    adapter.train({**cfg, "prior": {"weight": weight}}, inputs, CPU, out)
    rows = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    return load_file(out / FILE), rows


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_an_adapter_learns_the_sum_of_both_losses(inputs, drawn, tmp_path, weight):
    _, rows = trained({**inputs, "prior": drawn}, tmp_path / "with", weight)
    assert len(rows) == 6
    for row in rows:
        assert row["loss"] == pytest.approx(row["loss_subject"] + weight * row["loss_prior"], rel=1e-5)


def test_a_prior_changes_what_is_learned_and_its_absence_leaves_all_as_it_was(inputs, drawn, tmp_path):
    plain, rows = trained(inputs, tmp_path / "plain")
    both, _ = trained({**inputs, "prior": drawn}, tmp_path / "both", 1.0)
    assert all("loss_prior" not in row for row in rows)
    assert any(not torch.equal(plain[name], both[name]) for name in plain)


@pytest.mark.slow
def test_two_processes_draw_the_same_class_and_learn_the_same_beside_it(inputs, tmp_path):
    """Of a batch of 7 one process has three places and the other four; dropout would depend on that."""
    base = {**BASE, "network": {**BASE["network"], "dropout": 0.0}}
    inputs = {**inputs, "denoiser": replace(inputs["denoiser"], key="no dropout", manifest={"config": base})}
    for artifact in inputs.values():
        (artifact.path / "manifest.json").write_text(json.dumps(artifact.manifest))
    stages = {stage.name: stage for stage in STAGES}
    cfg = config()
    trainer = {**cfg["adapter"]["trainer"], "log_every": 1, "batch_size": 7}
    own = {"trainer": trainer, "tuning": {**LOW_RANK, "dropout": 0.0}, "text": None, "text_rate": 1.0}
    cfg["adapter"] = {**cfg["adapter"], **own}
    cfg["prior"] = {**DRAWN, "num": 5, "weight": 0.5}
    found = []
    for devices in (1, 2):
        place, runtime = tmp_path / str(devices), Runtime(accelerator="cpu", devices=devices)
        for name in ("prior", "adapter"):
            (place / name).mkdir(parents=True)
        stages["prior"].run(cfg, inputs, runtime, place / "prior")
        (place / "prior" / "manifest.json").write_text("{}")
        given = {**inputs, "prior": Artifact(f"prior {place}", place / "prior", {})}
        stages["adapter"].run(cfg, given, runtime, place / "adapter")
        drawn = ShardDataset(place / "prior", "train").__getitems__([(0, row, row) for row in range(5)])
        rows = [json.loads(line) for line in (place / "adapter" / LOG).read_text().splitlines()]
        found.append((drawn["image"], [row["loss_prior"] for row in rows], [row["loss"] for row in rows]))
    (images, *losses), (others, *other_losses) = found
    assert torch.equal(images, others)
    assert other_losses == [pytest.approx(wanted, rel=1e-4) for wanted in losses]
