"""ControlNets for a Stable Diffusion, trained on own pictures: diffusers draws the same with them."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_stable_diffusion as tiny
import torch
from choices import CONF
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
from PIL import Image
from safetensors.torch import load_file

from condiff.adapters.tensor_files import read_tensors, write_tensors
from condiff.config.build import build
from condiff.config.compose import check, register
from condiff.data.captions import captions_of
from condiff.diffusion.randomness import SampleNoise
from condiff.interrupts import Interrupts
from condiff.stages.adapted import adapted
from condiff.stages.denoiser import load_denoiser
from condiff.stages.driver import rehearse_if_new, run_study
from condiff.stages.exported_adapter import CONTROL, leave_adapter
from condiff.stages.finished_adapters import FILE
from condiff.stages.samples import drawn
from condiff.stages.stage import Artifact
from condiff.stages.study import STAGES

NAMES = [stage.name for stage in STAGES]
NUM, STEPS, SCALE = 2, 3, 5.0
WEIGHTS = {"diffusion_pytorch_model.safetensors"}
SMALL = (
    *("data.pictures.size=32", "data.pictures.held_out=0.25", f"num_samples={NUM}", f"sampler.steps={STEPS}"),
    *(f"guidance.scale={SCALE}", "adapter.trainer.steps=3", "adapter.optimizer.lr=0.02"),
    *("metrics.every=0", "logger.wandb=off", "logger.pictures_every=0", "runtime.accelerator=cpu"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pipeline, and a few pictures with captions."""
    register()
    folder = tmp_path_factory.mktemp("controlled")
    tiny.saved(folder / "model")
    (folder / "pictures").mkdir()
    for name in range(8):
        pixels = np.random.default_rng(name).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels.repeat(8, 0).repeat(8, 1)).save(folder / "pictures" / f"{name}.png")
        (folder / "pictures" / f"{name}.txt").write_text(f"a red circle, {name}")
    return folder


def composed(folder, *overrides, small=SMALL, study="controlnet"):
    given = (f"base={folder / 'model'}", f"data.pictures.path={folder / 'pictures'}")
    words = (f"experiment={study}", *small, *given, f"runtime.cache={folder / 'cache'}")
    (cfg,) = check([*words, *overrides], CONF, NAMES) or []
    return cfg


def ran(folder, name, *overrides, study="controlnet"):
    """The config of a study, what it leaves, by stage, and the samples that it has drawn."""
    cfg = composed(folder, *overrides, study=study)
    run_study(cfg, folder / name, Interrupts())
    stages = json.loads((folder / name / "stages.json").read_text())
    made = {own: artifact(stage["key"], Path(stage["path"])) for own, stage in stages.items()}
    return cfg, made, load_file(made["samples"].path / "samples.safetensors")


def artifact(key, place):
    return Artifact(key, place, json.loads((place / "manifest.json").read_text()))


def test_the_exported_folder_draws_in_diffusers_what_the_study_has_drawn(folder, tmp_path):
    """From hints as others have them, pictures in colours."""
    cfg, made, stored = ran(folder, "locked")
    found = json.loads((folder / "locked" / "metrics.json").read_text())
    assert found["edge_f1_real"]["value"] == 1
    left = exported(folder / "locked", tmp_path)
    assert left == {CONTROL: {"config.json", "control_model.safetensors", *WEIGHTS}}
    net = ControlNetModel.from_pretrained(tmp_path / CONTROL)
    assert net.controlnet_mid_block.weight.any()
    parts = tiny.opened(folder / "model").components
    pipeline = StableDiffusionControlNetPipeline(**parts, controlnet=net)
    pipeline.set_progress_bar_config(disable=True)
    hints = [Image.fromarray(hint.numpy()).convert("RGB") for (hint,) in stored["control"]]
    told = {"num_inference_steps": STEPS, "guidance_scale": SCALE, "output_type": "pt"}
    noise = SampleNoise(0, range(NUM)).normal(4, 8, 8)
    theirs = pipeline(captions_of(stored), image=hints, latents=noise, **told).images
    own = stored["image"].float() / 255
    torch.testing.assert_close(own, theirs, rtol=0, atol=0.6 / 255)
    plain = tiny.opened(folder / "model")(captions_of(stored), latents=noise, **told).images
    assert (own - plain).abs().max() > 0.02  # of 1: it is trained
    trained, named = load_denoiser(made["denoiser"], made["data"], made["texts"]), [str(tmp_path / CONTROL)]
    alone = {name: part for name, part in made.items() if name != "adapter"}
    with adapted({**cfg, "adapters": named}, alone, trained) as back:
        again = drawn(cfg, made, back, torch.device("cpu"))["image"].clamp(-1, 1) / 2 + 0.5
    torch.testing.assert_close(again, own, rtol=0, atol=0.6 / 255)
    assert measured_where_given(folder, tmp_path / CONTROL, tmp_path) == {
        name: pytest.approx(entry["value"], abs=1e-3) for name, entry in found.items()
    }


def exported(run, out):
    """Files by folder of what task=export leaves of it, which are moved to ``out``."""
    (cfg,) = check(["task=export", f"from={run}", "logger.wandb=off"], CONF, NAMES) or []
    run_study(cfg, out / "exported", Interrupts())
    places = [place for place in (out / "exported" / "adapter").iterdir() if place.is_dir()]
    assert not (out / "exported" / "pipeline").exists()
    return {
        place.rename(out / place.name).name: {file.name for file in (out / place.name).iterdir()}
        for place in places
    }


def measured_where_given(folder, file, out):
    """How well a finished ControlNet is obeyed: nothing is trained."""
    untrained = [word for word in SMALL if not word.startswith(("adapter.", "metrics."))]
    cfg = composed(folder, "adapter=none", f"adapters=[{file}]", small=untrained)
    assert "adapter" not in cfg["stages"]
    rehearse_if_new(cfg, build(cfg["data"], "data").info())
    run_study(cfg, out / "given", Interrupts())
    found = json.loads((out / "given" / "metrics.json").read_text())
    return {name: entry["value"] for name, entry in found.items()}


def test_of_a_run_that_did_not_lock_the_decoder_this_is_drawn_with_too(folder, tmp_path, capsys):
    own = ("adapter=controlnet_sd_unlocked", "metrics.every=2")
    cfg, made, stored = ran(folder, "unlocked", *own, study="controlnet_sd15")
    log = (folder / "unlocked" / "log.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, log) if "edge_f1" in row]
    assert [row["step"] for row in rows] == [0, 2, 3]
    found = json.loads((folder / "unlocked" / "metrics.json").read_text())
    assert rows[-1]["edge_f1"] == pytest.approx(found["edge_f1"]["value"], abs=1e-6)
    file = made.pop("adapter").path / FILE
    assert any(name.startswith("decoder.up_blocks") for name in load_file(file))
    trained = load_denoiser(made["denoiser"], made["data"], made["texts"])
    with adapted({**cfg, "adapters": [str(file)]}, made, trained) as own:
        images = drawn(cfg, made, own, torch.device("cpu"))["image"].clamp(-1, 1) / 2 + 0.5
    torch.testing.assert_close(images, stored["image"].float() / 255, rtol=0, atol=0.6 / 255)
    with adapted({**cfg, "adapters": [str(without_decoder(file, tmp_path))]}, made, trained) as own:
        locked = drawn(cfg, made, own, torch.device("cpu"))["image"].clamp(-1, 1) / 2 + 0.5
    assert (locked - images).abs().max() > 0.02  # of 1
    leave_adapter("RUN", {**made, "adapter": artifact("adapter", file.parent)}, tmp_path)
    assert "only adapters=[RUN] draws with both" in capsys.readouterr().err


def without_decoder(file, folder):
    tensors, header = read_tensors(file)
    own = {name: value for name, value in tensors.items() if not name.startswith("decoder.")}
    write_tensors(folder / file.name, own, header)
    return folder / file.name
