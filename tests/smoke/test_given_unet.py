"""Studies with a U-Net that others have trained: used as it is, and known by its content."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from choices import CONF
from diffusers.schedulers import DDIMScheduler
from networks.ldm_files import first_stage, of_first_stage, of_u_net, u_net
from networks.ldm_files import saved as saved_file
from networks.test_pretrained_unet import plain, saved
from safetensors.torch import load_file

from condiff.config.compose import check, register
from condiff.errors import ConfigError
from condiff.interrupts import Interrupts
from condiff.stages.denoiser import load_denoiser
from condiff.stages.driver import planned_keys, run_study
from condiff.stages.given import weights_are_there
from condiff.stages.stage import Artifact
from condiff.stages.study import STAGES
from tests.smoke.conftest import TINY

NAMES = [stage.name for stage in STAGES]
STUDY = (
    *(word for word in TINY if not word.startswith(("network.", "trainer."))),
    *("process=scaled_linear", "objective=eps", "sampler=ddim_leading", "sampler.steps=2"),
)
PIXELS = ("stages=[data,denoiser,samples]", "~autoencoder", "network=pretrained")
LATENT = (
    *("stages=[data,autoencoder,latents,denoiser,samples]", "autoencoder=pretrained", "network=ldm_f4"),
    *("network.width=32", "network.multipliers=[1,2]", "network.attention=[2]", "network.token_width=24"),
    *("process.beta_start=0.0015", "process.beta_end=0.0195", "autoencoder.network.scale=1"),
)


def configured(tmp_path, *overrides):
    register()
    (cfg,) = check([*STUDY, *overrides, f"runtime.cache={tmp_path / 'cache'}"], CONF, NAMES) or []
    return cfg


def ran(tmp_path, *overrides):
    run_study(configured(tmp_path, *overrides), tmp_path / "run", Interrupts())
    stages = json.loads((tmp_path / "run" / "stages.json").read_text())
    return {name: Path(stage["path"]) for name, stage in stages.items()}


@pytest.fixture
def folder(tmp_path):
    """A pipeline of which only U-Net and scheduler are looked at."""
    model = plain(in_channels=1, out_channels=1, num_class_embeds=11, sample_size=16)
    saved(tmp_path / "model" / "unet", model)
    betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    DDIMScheduler(**betas).save_pretrained(tmp_path / "model" / "scheduler")
    return tmp_path / "model"


def test_a_study_samples_from_a_folder_and_its_artifact_needs_it_no_more(folder, tmp_path):
    given = (*PIXELS, f"network.weights={folder}")
    stages = ran(tmp_path, *given)
    assert load_file(stages["samples"] / "samples.safetensors")["image"].shape == (20, 1, 16, 16)
    before = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    kept = load_file(stages["denoiser"] / "weights.safetensors")
    assert {f"net.{name}" for name in before} == {*kept}
    assert all(torch.equal(kept[f"net.{name}"], tensor) for name, tensor in before.items())
    shutil.rmtree(folder)
    manifest = json.loads((stages["denoiser"] / "manifest.json").read_text())
    denoiser, _, shape = load_denoiser(
        Artifact("other", stages["denoiser"], manifest), Artifact("data", stages["data"], {})
    )
    assert shape == [1, 16, 16]
    assert all(torch.equal(kept[name], value) for name, value in denoiser.network.state_dict().items())


def test_a_folder_is_known_by_the_content_of_its_files(folder, tmp_path):
    cfg = configured(tmp_path, *PIXELS, f"network.weights={folder}")
    first = planned_keys(cfg)
    (folder / "unet" / "README.md").write_text("read me")
    assert planned_keys(cfg) == first
    saved(folder / "unet", plain(in_channels=1, out_channels=1, num_class_embeds=11, sample_size=16), seed=2)
    second = planned_keys(cfg)
    assert [name for name in first if first[name] != second[name]] == ["denoiser", "samples"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["process=linear"], "process: must be that of {}; use process=scaled_linear"),
        (["process.beta_end=0.0195"], "process: must be that of {}; use process=scaled_linear"),
        (["objective=v"], "objective.parameterization: must be that of {}, prediction_type=epsilon; use"),
        (
            ["network.weights=nowhere"],
            "network.weights: nowhere is no folder; give a folder with config.json",
        ),
    ],
)
def test_what_the_model_was_not_trained_on_is_told(overrides, said, folder, tmp_path):
    cfg = configured(tmp_path, *PIXELS, f"network.weights={folder}", *overrides)
    with pytest.raises(ConfigError) as told:
        weights_are_there(cfg)
    (line,) = told.value.lines
    assert line.startswith(said.format(folder / "scheduler" / "scheduler_config.json"))


@pytest.mark.slow
def test_a_study_runs_on_both_parts_of_one_file(tmp_path):
    """Classes in latents of a codebook, as the published model of ImageNet: everything from one file."""
    network = u_net(num_labels=11, channels=3, heads=1, multipliers=[1, 2], attention=[2])
    tensors = {**of_u_net(network), **of_first_stage(first_stage("vq"))}
    file = saved_file(tmp_path / "model.safetensors", tensors)
    given = (f"network.weights={file}", f"autoencoder.network.weights={file}")
    stages = ran(tmp_path, *LATENT, *given)
    assert load_file(stages["samples"] / "samples.safetensors")["image"].shape == (20, 1, 16, 16)
    kept = load_file(stages["denoiser"] / "weights.safetensors")
    assert torch.equal(kept["label_tokens.weight"], network.label_tokens.weight)
    log = (tmp_path / "run" / "run.log").read_text()
    assert f"network: used as it is in {file}; nothing is trained" in log
    assert f"autoencoder.network: used as it is in {file}; nothing is trained" in log


def test_a_file_that_is_not_there_is_told_with_what_to_give(tmp_path):
    (tmp_path / "model.safetensors").touch()
    given = [f"{key}.weights={tmp_path / 'model.safetensors'}" for key in ("network", "autoencoder.network")]
    cfg = configured(tmp_path, *LATENT, *given)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ConfigError) as told:
        weights_are_there(cfg)
    hint = "is no file; give one in the layout of latent diffusion's or Stable Diffusion's single files"
    assert told.value.lines[0].startswith(f"network.weights: {tmp_path / 'model.safetensors'} {hint}")
