"""An autoencoder with a codebook, against a discriminator, learns on two processes what it learns on one."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from condiff.autoencoders.compact import CompactKL
from condiff.data.dataset import ShardDataset
from condiff.data.digits import Digits
from condiff.data.prepare import prepare
from condiff.stages.autoencoder import load_autoencoder
from condiff.stages.stage import LOG, Artifact, Runtime, Stage
from condiff.stages.study import STAGES
from tests.methods.first_stages import KINDS

WORK = Stage(
    "autoencoder",
    "tests.stages.rank_work:first_stage",
    ("data",),
    reads=("kind", "accumulate"),
    is_shared=True,
)
OF_THE_MACHINE = {"images_per_second", "memory_mib"}


@pytest.mark.slow  # the default one for ranks is test_ranks.py, of a denoiser
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_learn_what_one_does(kind, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    prepare(Digits(size=8), data)
    (data / "manifest.json").write_text("{}")
    for devices in (1, 2):
        out = tmp_path / str(devices)
        out.mkdir()
        runtime = Runtime(accelerator="cpu", devices=devices)
        WORK.run({"kind": kind, "accumulate": 1}, {"data": Artifact("data", data, {})}, runtime, out)
    alone = load_file(tmp_path / "1" / "learned0.safetensors")
    parts = [load_file(tmp_path / "2" / f"learned{rank}.safetensors") for rank in (0, 1)]
    for name, value in alone.items():
        assert torch.equal(parts[0][name], parts[1][name]), name
        torch.testing.assert_close(parts[0][name], value, rtol=1e-3, atol=1e-4, msg=name)
    logs = [
        [json.loads(line) for line in (tmp_path / devices / LOG).read_text().splitlines()] for devices in "12"
    ]
    assert len(logs[0]) == len(logs[1]) == 6
    assert kind == "kl" or sum(row["codes_restarted"] for row in logs[0]) > 10
    for one, two in zip(*logs, strict=True):
        assert one.keys() == two.keys()
        for name in one.keys() - OF_THE_MACHINE - {"stage"}:
            assert two[name] == pytest.approx(one[name], rel=2e-3, abs=1e-4), name


@pytest.mark.slow
def test_two_processes_leave_the_latents_that_one_leaves(tmp_path):
    """The same shards byte for byte, and so the same keys, labels and moments together."""
    data = tmp_path / "data"
    data.mkdir()
    prepare(Digits(size=8), data)
    (data / "manifest.json").write_text("{}")
    encoder = Artifact("data", data, {}), tmp_path / "autoencoder"
    encoder[1].mkdir()
    network = {"_target_": "condiff.autoencoders.compact.CompactKL", "width": 16}
    config = {"seed": 0, "autoencoder": {"network": network}}
    (encoder[1] / "manifest.json").write_text(json.dumps({"config": config}))
    torch.manual_seed(1)
    save_file(CompactKL(1, width=16).state_dict(), encoder[1] / "weights.safetensors")
    inputs = {"data": encoder[0], "autoencoder": Artifact("ae", encoder[1], {"config": config})}
    (stage,) = (stage for stage in STAGES if stage.name == "latents")
    for devices in (1, 2):
        (tmp_path / str(devices)).mkdir()
        runtime = Runtime(accelerator="cpu", devices=devices)
        stage.run({}, inputs, runtime, tmp_path / str(devices))
    one, two = ({file.name: file.read_bytes() for file in (tmp_path / devices).iterdir()} for devices in "12")
    assert {"train-000000.tar", "index-train.jsonl", "space.safetensors"} <= one.keys()
    assert one == two
    found, pictures = ShardDataset(tmp_path / "2", "train"), ShardDataset(data, "train")
    assert found.keys == pictures.keys
    assert torch.equal(found.labels, pictures.labels)
    autoencoder = load_autoencoder(inputs["autoencoder"], inputs["data"])
    own = autoencoder.encode(pictures.__getitems__([(0, 0, 777)])["image"])
    moments = found.__getitems__([(0, 0, 777)])["moments"]
    torch.testing.assert_close(moments, own.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_batch_in_more_parts_than_a_share_has_pictures_is_taken_alike_by_all(tmp_path):
    """Of 7 pictures one rank has 3 and the other 4: both take them in 3 parts."""
    data = tmp_path / "data"
    data.mkdir()
    prepare(Digits(size=8), data)
    (data / "manifest.json").write_text("{}")
    out = tmp_path / "out"
    out.mkdir()
    runtime = Runtime(accelerator="cpu", devices=2)
    cfg = {"kind": "vq_averaged", "accumulate": 4}
    WORK.run(cfg, {"data": Artifact("data", data, {})}, runtime, out)
    parts = [load_file(out / f"learned{rank}.safetensors") for rank in (0, 1)]
    assert all(torch.equal(value, parts[1][name]) for name, value in parts[0].items())
    assert all(bool(value.isfinite().all()) for value in parts[0].values())
