"""Studies on the latents of an autoencoder that others have trained."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from autoencoders.models import KINDS, saved
from choices import CONF
from PIL import Image
from safetensors.torch import load_file, save_file

from condiff.autoencoders.pretrained import Pretrained
from condiff.config.compose import check, read_command, register
from condiff.data.dataset import ShardDataset
from condiff.data.source import DataInfo
from condiff.errors import ConfigError
from condiff.files import read_json
from condiff.interrupts import Interrupts
from condiff.reports.checked import check_told
from condiff.stages.autoencoder import load_autoencoder
from condiff.stages.driver import fits, planned_keys, rehearse_if_new, run_study
from condiff.stages.given import weights_are_there
from condiff.stages.latents import encode
from condiff.stages.stage import Artifact, Runtime
from condiff.stages.study import STAGES
from tests.smoke.conftest import TINY

NAMES = [stage.name for stage in STAGES]
WEIGHTS = "diffusion_pytorch_model.safetensors"
KEY = "autoencoder.network.weights"
INFO = DataInfo(10, [], 1, 16, 100, 20, has_text=False, source="", left_out=[])


def words(tmp_path, *overrides):
    given = ["autoencoder=pretrained", f"{KEY}={tmp_path / 'model'}", f"runtime.cache={tmp_path / 'cache'}"]
    return [*TINY, *given, *overrides]


def configured(tmp_path, *overrides):
    register()
    (cfg,) = check(words(tmp_path, *overrides), CONF, NAMES) or []
    return cfg


def ran(tmp_path, *overrides, folder="run"):
    run_study(configured(tmp_path, *overrides), tmp_path / folder, Interrupts())
    stages = json.loads((tmp_path / folder / "stages.json").read_text())
    return {name: Path(stage["path"]) for name, stage in stages.items()}


def coloured(folder):
    """Two classes of pictures of three channels."""
    rng = np.random.default_rng(0)
    for label in ("dark", "light"):
        (folder / label).mkdir(parents=True)
        for i in range(30):
            pixels = rng.integers(0, 128, (16, 16, 3)) + 127 * (label == "light")
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{i}.png")


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_of_coloured_pictures_runs_on_given_latents(kind, tmp_path):
    own = saved(tmp_path / "model", kind)
    coloured(tmp_path / "pictures")
    data = ["data=image_folder", f"data.path={tmp_path / 'pictures'}", "data.held_out=0.3"]
    stages = ran(tmp_path, *data, "data.size=16", "stages=[data,autoencoder,latents,denoiser,samples]")
    assert load_file(stages["samples"] / "samples.safetensors")["image"].shape == (20, 3, 16, 16)
    kept = load_file(stages["autoencoder"] / "weights.safetensors")
    given = {name: value for name, value in own.state_dict().items() if name.startswith("decoder.")}
    assert all(torch.equal(kept[f"inner.{name}"], value) for name, value in given.items())
    assert load_file(stages["latents"] / "space.safetensors")["std"].numel() == own.config.latent_channels


def test_nothing_is_trained_and_latents_are_normalised_as_measured(tmp_path):
    """Grey digits through an autoencoder of three channels, and samples of them."""
    own = saved(tmp_path / "model")
    stages = ran(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {row["stage"] for row in rows} == {"judge", "denoiser"}
    space = load_file(stages["latents"] / "space.safetensors")
    images = torch.cat([batch["image"] for batch in ShardDataset(stages["data"], "train").chunks(500)])
    with torch.no_grad():
        found = own.encode(images.expand(-1, 3, -1, -1)).latent_dist
    mean, spread = found.mean.mean((0, 2, 3)), found.mean.var((0, 2, 3)) + found.var.mean((0, 2, 3))
    torch.testing.assert_close(space["mean"].flatten(), mean, rtol=0, atol=0.02)
    torch.testing.assert_close(space["std"].flatten(), spread.sqrt(), rtol=0.02, atol=0)
    log = (tmp_path / "run" / "run.log").read_text()
    assert f"autoencoder.network: used as it is in {tmp_path / 'model'}; nothing is trained" in log
    assert "autoencoder.network: pictures of 1 channel go in as 3 that are alike" in log
    assert json.loads((stages["autoencoder"] / "model.json").read_text())["trainable"] == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["class_accuracy"]["n"] == 20


def test_what_was_made_with_it_can_be_sampled_when_the_folder_has_gone(tmp_path):
    saved(tmp_path / "model")
    ran(tmp_path)
    cfg = configured(tmp_path)
    keys = planned_keys(cfg)
    artifact = tmp_path / "cache" / "autoencoder" / keys["autoencoder"]
    manifest = json.loads((artifact / "manifest.json").read_text())
    data = tmp_path / "cache" / "data" / keys["data"]
    shutil.rmtree(tmp_path / "model")
    module = load_autoencoder(Artifact("other", artifact, manifest), Artifact("data", data, {}))
    kept = load_file(artifact / "weights.safetensors")
    assert all(torch.equal(tensor, kept[name]) for name, tensor in module.state_dict().items())


def test_it_is_known_by_the_content_of_its_files_alone(tmp_path):
    saved(tmp_path / "model")
    cfg = configured(tmp_path)
    first = planned_keys(cfg)
    os.utime(tmp_path / "model" / WEIGHTS)
    (tmp_path / "model" / "README.md").write_text("read me")
    assert planned_keys(cfg) == first
    saved(tmp_path / "model", seed=1)
    second = planned_keys(cfg)
    assert [name for name in first if first[name] == second[name]] == ["data", "judge"]
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text() + " ")
    assert planned_keys(cfg)["autoencoder"] not in (first["autoencoder"], second["autoencoder"])


def refusal(call) -> str:
    with pytest.raises(ConfigError) as told:
        call()
    (line,) = told.value.lines
    return line


def test_a_folder_that_is_not_there_is_told_before_torch_is_imported(tmp_path):
    said = refusal(lambda: weights_are_there(configured(tmp_path)))
    assert said.startswith(f"{KEY}: {tmp_path / 'model'} is no folder; give a folder with config.json and")
    code = (
        "import sys; from pathlib import Path; import yaml, condiff.stages.given as given\n"
        "try: given.weights_are_there(yaml.safe_load(Path(sys.argv[1]).read_text()))\n"
        "except Exception as error: print(error)\n"
        "print('torch' in sys.modules)"
    )
    (tmp_path / "cfg.yaml").write_text(yaml.safe_dump(dict(configured(tmp_path))))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "cfg.yaml")], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"error[2]: {said}", "False"]


def test_pictures_that_do_not_fit_are_told_before_anything_is_made(tmp_path):
    saved(tmp_path / "model", channels=4)
    cfg = configured(tmp_path)
    assert "is for pictures of 4 channels, and those of the data have 1" in refusal(lambda: fits(cfg, INFO))
    saved(tmp_path / "model", channels=3)
    odd = replace(INFO, size=18)
    said = "data.size: must be a multiple of 4 (autoencoder 2 x network 2), got 18"
    assert refusal(lambda: fits(cfg, odd)) == said
    fits(cfg, INFO)


def test_weights_that_do_not_fit_are_told_before_anything_is_made(tmp_path):
    saved(tmp_path / "model")
    tensors = load_file(tmp_path / "model" / WEIGHTS)
    save_file({**tensors, "more.weight": torch.zeros(1)}, tmp_path / "model" / WEIGHTS)
    said = refusal(lambda: rehearse_if_new(configured(tmp_path), INFO))
    assert "does not fit the AutoencoderKL of its config.json: it has nothing to do with more.weight" in said
    assert not (tmp_path / "cache" / "autoencoder").exists()


def test_a_check_counts_it_without_a_training(tmp_path):
    saved(tmp_path / "model")
    run_study(configured(tmp_path, "task=check"), tmp_path / "check", Interrupts())
    found = json.loads((tmp_path / "check" / "check.json").read_text())
    own = found["networks"]["autoencoder"]
    assert (own["class"], own["steps"], own["trainable"], own["flop_training"]) == ("Pretrained", 0, 0, 0)
    assert own["bytes_states"] == 4 * own["parameters"]
    assert found["shape"] == [4, 8, 8]
    (told,) = [line for line in check_told(found) if line.startswith("autoencoder: Pretrained")]
    assert "for one picture, and it is used as it is;" in told


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["autoencoder.network.weights=null"], "autoencoder.network.weights: "),
        (
            ["autoencoder.trainer={_target_:condiff.methods.settings.Training,steps:3,batch_size:8}"],
            "autoencoder.trainer: has no effect with autoencoder.network.weights: nothing is trained;",
        ),
    ],
)
def test_what_does_not_go_with_a_given_autoencoder_is_told(overrides, said, tmp_path):
    with pytest.raises(ConfigError) as told:
        read_command(words(tmp_path, *overrides), CONF, NAMES)
    assert any(line.startswith(said) for line in told.value.lines), told.value.lines


def test_an_autoencoder_without_weights_must_be_trained(tmp_path):
    command = [word for word in words(tmp_path) if not word.startswith(("autoencoder", KEY))]
    with pytest.raises(ConfigError) as told:
        read_command([*command, "autoencoder=compact_kl", "autoencoder.trainer=null"], CONF, NAMES)
    assert "autoencoder.trainer: is null, and CompactKL is to be trained; give it, or use" in str(told.value)


def test_as_many_pictures_are_encoded_at_a_time_as_the_memory_is_said_to_have_room_for(tmp_path, monkeypatch):
    saved(tmp_path / "model")
    stages = ran(tmp_path, "stages=[data,autoencoder,latents]")
    artifacts = {
        name: Artifact(name, path, read_json(path / "manifest.json")) for name, path in stages.items()
    }
    seen, whole = [], Pretrained.encode
    monkeypatch.setattr(Pretrained, "encode", lambda self, x: seen.append(len(x)) or whole(self, x))
    (tmp_path / "few").mkdir()
    encode({}, artifacts, Runtime("cpu", sample_batch=70), tmp_path / "few")
    total = len(ShardDataset(stages["data"], "train"))
    assert max(seen) <= 70
    assert sum(seen) == total > 70
    spaces = [load_file(folder / "space.safetensors") for folder in (tmp_path / "few", stages["latents"])]
    torch.testing.assert_close(*spaces, rtol=1e-5, atol=1e-5)
