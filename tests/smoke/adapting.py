"""Own pictures that adapt a pipeline of diffusers, and what is drawn of the base, here and there."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from choices import CONF
from PIL import Image

from condiff.config.compose import check, register
from condiff.diffusion.randomness import SampleNoise
from condiff.interrupts import Interrupted, Interrupts
from condiff.stages import adapter
from condiff.stages.adapted import adapted
from condiff.stages.denoiser import load_denoiser
from condiff.stages.driver import run_study
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


class Made(NamedTuple):
    """A pipeline, where it is, and what a study leaves that adapts it to a few pictures with captions."""

    pipeline: object
    folder: Path
    inputs: dict[str, Artifact]
    study: dict[str, object]  # its config
    asked: dict[str, object]  # the config of a task that draws from it


def made_by(folder, save, study):
    """By the words of a study, of what ``save`` makes."""
    register()
    pipeline = save(folder / "model")
    pictures(folder / "pictures")
    given = (f"base={folder / 'model'}", f"data.path={folder / 'pictures'}")
    words = (*study, *SMALL, *given, f"runtime.cache={folder / 'cache'}")
    (cfg,) = check([*words], CONF, NAMES) or []
    run_study(cfg, folder / "run", Interrupts())
    task = ("task=sample", f"from={folder / 'model'}", "n=2", "text=words")
    (asked,) = check([*task, f"sampler.steps={STEPS}", f"guidance.scale={SCALE}"], CONF, NAMES) or []
    return Made(pipeline, folder, artifacts(folder / "run"), cfg, asked)


def artifacts(run):
    stages = json.loads((run / "stages.json").read_text())
    places = {name: Path(stage["path"]) for name, stage in stages.items()}
    return {name: artifact(name, place) for name, place in places.items()}


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


def trained_in_two(made, out):
    """Its adapter again, the training stopped after its second step and gone on with."""
    cfg, interrupts = made.inputs["adapter"].manifest["config"], Interrupts()
    own = {**cfg["adapter"], "trainer": {**cfg["adapter"]["trainer"], "log_every": 1}}

    def log(_, step, __):
        interrupts.pending = 15 if step == 2 else None

    for runtime in (Runtime("cpu", interrupts=interrupts, log=log), Runtime("cpu")):
        with pytest.raises(Interrupted) if runtime.interrupts is interrupts else nullcontext():
            adapter.train({**cfg, "adapter": own}, made.inputs, runtime, out)
