"""Pipelines of diffusers of each kind as bases: drawn from as they draw, adapted to own pictures, exported.

An adapter that was trained here changes their pictures as it changes ours.
"""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tiny_pipelines
import tiny_stable_diffusion
import torch
from choices import CONF
from PIL import Image
from safetensors.torch import load_file

from condiff.config.compose import check, register
from condiff.data.captions import captions_of
from condiff.data.dataset import ShardDataset
from condiff.diffusion.randomness import SampleNoise
from condiff.interrupts import Interrupted, Interrupts
from condiff.stages import adapter
from condiff.stages.adapted import adapted
from condiff.stages.denoiser import load_denoiser
from condiff.stages.driver import run_study
from condiff.stages.exported_adapter import PLACES, leave_adapter
from condiff.stages.finished_adapters import FILE
from condiff.stages.samples import drawn
from condiff.stages.stage import Artifact, Runtime
from condiff.stages.study import STAGES

NAMES = [stage.name for stage in STAGES]
NUM, STEPS, SCALE = 2, 3, 5.0
SMALL = (
    *("data.size=32", "data.held_out=0.25", f"num_samples={NUM}", f"sampler.steps={STEPS}"),
    *(f"guidance.scale={SCALE}", "adapter.optimizer.lr=0.02", "adapter.trainer.steps=3"),
    *("logger.wandb=off", "logger.pictures_every=0", "runtime.accelerator=cpu"),
)
# with a prior, text encoders, and pictures of two shapes
DREAMBOOTH = (
    *("experiment=dreambooth_sdxl", "adapter=stable_diffusion_text", "adapter.text_rate=0.5"),
    *("prior.num=4", "prior.sampler.steps=2", "data.buckets=8"),
)
ALL = {"diffusers", "kohya", "peft"}
# How each is made, what adapts it, the formats that its adapter has names in, and the parts that it changes.
KINDS = {
    "sd": (tiny_stable_diffusion.saved, ("experiment=lora_sd15",), ALL, {"unet"}),
    "xl": (
        tiny_pipelines.saved_xl,
        DREAMBOOTH,
        ALL,
        {"unet", "text_encoder", "text_encoder_2"},
    ),
    "sd3": (
        tiny_pipelines.saved_3,
        ("experiment=lora_sd3", "adapter=stable_diffusion_3_text", "adapter.text_rate=0.5"),
        ALL - {"kohya"},
        {"transformer", "text_encoder", "text_encoder_2"},
    ),
}


class Made(NamedTuple):
    pipeline: object
    folder: Path
    inputs: dict[str, Artifact]
    asked: dict[str, object]  # the config of a task that draws from it
    formats: set[str]
    parts: set[str]


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory):
    """A pipeline, and what a study leaves that adapts it to a few pictures with captions."""
    register()
    save, study, formats, parts = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    pipeline = save(folder / "model")
    pictures(folder / "pictures")
    given = (f"base={folder / 'model'}", f"data.path={folder / 'pictures'}")
    words = (*study, *SMALL, *given, f"runtime.cache={folder / 'cache'}")
    (cfg,) = check([*words], CONF, NAMES) or []
    run_study(cfg, folder / "run", Interrupts())
    stages = json.loads((folder / "run" / "stages.json").read_text())
    places = {name: Path(stage["path"]) for name, stage in stages.items()}
    inputs = {name: artifact(name, place) for name, place in places.items()}
    task = ("task=sample", f"from={folder / 'model'}", "n=2", "text=words")
    (asked,) = check([*task, f"sampler.steps={STEPS}", f"guidance.scale={SCALE}"], CONF, NAMES) or []
    return Made(pipeline, folder, inputs, asked, formats, parts)


def test_latents_keep_how_their_pictures_were_cut(made):
    data = ShardDataset(made.inputs["latents"].path, "train")
    last = len(data) - 1
    assert data.__getitems__([(0, last, last)])["framing"].tolist() == [[32, 40, 0, 4, 32, 32]]
    for index, key in enumerate(data.keys):  # in the order of their shapes, each with its own caption
        one, name = data.__getitems__([(0, index, index)]), key.partition("-")[0]
        assert one["text"] == [f"a red circle, {name}"]
        assert one["framing"][0, :2].tolist() == [24 if int(name) < 3 else 32, 40]
    if "prior" in made.inputs:  # whose pictures are whole ones, of the same shapes
        assert data.__getitems__([(0, 0, 0)])["framing"].tolist() == [[24, 40, 0, 0, 24, 40]]
        prior = ShardDataset(made.inputs["prior_latents"].path, "train")
        found = [(chunk["framing"].tolist(), [*chunk["moments"].shape]) for chunk in prior.chunks(9)]
        assert found == [
            ([[24, 40, 0, 0, 24, 40]] * 1, [1, 8, 6, 10]),
            ([[32, 32, 0, 0, 32, 32]] * 3, [3, 8, 8, 8]),
        ]
        assert prior.text(0) == prior.text(3) == "a photo of a dog"


def pictures(folder):
    """Some of them flatter."""
    folder.mkdir()
    for name in range(8):
        shape = (24 if name < 3 else 32, 40, 3)
        pixels = np.random.default_rng(name).integers(0, 255, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"a red circle, {name}")


def artifact(name, place):
    return Artifact(f"{name} {place}", place, json.loads((place / "manifest.json").read_text()))


def theirs(pipeline, captions, negative=None):
    noise = SampleNoise(0, range(len(captions))).normal(4, 8, 8)
    told = {"num_inference_steps": STEPS, "guidance_scale": SCALE, "latents": noise, "output_type": "pt"}
    return pipeline(captions, negative_prompt=negative, **told).images


def ours(made, texts, adapters=None, **guidance):
    """What the base draws of these texts, with whatever adapters are asked for."""
    cfg = {**made.asked, "text": texts, "adapters": adapters}
    cfg["guidance"] = {**cfg["guidance"], **guidance}
    trained = load_denoiser(made.inputs["denoiser"], made.inputs["data"], made.inputs["texts"])
    inputs = {name: there for name, there in made.inputs.items() if name != "adapter"}
    with adapted(cfg, inputs, trained):
        found = drawn(cfg, inputs, trained, torch.device("cpu"))
    return found["image"].clamp(-1, 1) / 2 + 0.5


@pytest.mark.parametrize("negative", [None, "blurry"])
def test_the_pictures_of_a_base_are_those_of_its_pipeline(made, negative):
    texts = ["two small things", "a red circle on white"]
    own = ours(made, texts, negative=negative)
    expected = theirs(made.pipeline, texts, negative and [negative] * NUM)
    torch.testing.assert_close(own, expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.05  # not grey: there is something to compare
    assert (own - theirs(made.pipeline, texts, None if negative else ["blurry"] * NUM)).abs().max() > 1e-3


def test_every_part_that_is_adapted_was_trained(made):
    """But for last layers whose answer to the text is not used."""
    tensors = load_file(made.inputs["adapter"].path / FILE)
    ups = [(name.partition(".")[0], tensor) for name, tensor in tensors.items() if "lora_B" in name]
    assert {part for part, _ in ups} == made.parts
    for part in made.parts:
        moved = [bool(tensor.any()) for own, tensor in ups if own == part]
        assert sum(moved) >= len(moved) / 2


def test_a_pipeline_that_loads_the_file_draws_what_the_study_has_drawn(made, tmp_path):
    """In each format that it reads, and so does a study that is given the file."""
    assert "base_latents" not in made.inputs
    stored = load_file(made.inputs["samples"].path / "samples.safetensors")
    captions, own = captions_of(stored), stored["image"].float() / 255
    before = theirs(made.pipeline, captions)
    leave_adapter("run", made.inputs, tmp_path)
    assert {name for name, place in PLACES.items() if (tmp_path / place).exists()} == made.formats
    files = [made.inputs["adapter"].path / FILE]
    files += [tmp_path / PLACES[name] for name in sorted(made.formats - {"peft"})]
    for file in files:
        made.pipeline.load_lora_weights(file)
        after = theirs(made.pipeline, captions)
        made.pipeline.unload_lora_weights()
        assert (after - before).abs().max() > 0.02  # of 1, and a pixel is rounded to 1 / 255
        torch.testing.assert_close(own, after, rtol=0, atol=0.6 / 255)
        torch.testing.assert_close(ours(made, captions, [str(file)]), after, rtol=0, atol=1e-4)


@pytest.mark.parametrize("made", ["xl"], indirect=True)
def test_interrupted_it_ends_bit_for_bit_the_same_with_its_text_encoders(made, tmp_path):
    cfg, interrupts = made.inputs["adapter"].manifest["config"], Interrupts()
    own = {**cfg["adapter"], "trainer": {**cfg["adapter"]["trainer"], "log_every": 1}}

    def log(_, step, __):
        interrupts.pending = 15 if step == 2 else None

    for runtime in (Runtime("cpu", interrupts=interrupts, log=log), Runtime("cpu")):
        with pytest.raises(Interrupted) if runtime.interrupts is interrupts else nullcontext():
            adapter.train({**cfg, "adapter": own}, made.inputs, runtime, tmp_path)
    once, again = (load_file(folder / FILE) for folder in (made.inputs["adapter"].path, tmp_path))
    assert once.keys() == again.keys()
    assert all(torch.equal(once[name], again[name]) for name in once)
