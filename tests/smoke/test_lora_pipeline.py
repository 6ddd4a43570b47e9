"""An adapter trained here on a pipeline of diffusers changes its pictures as it changes ours."""

import json
from pathlib import Path

import tiny_stable_diffusion as tiny
import torch
from choices import CONF
from safetensors.torch import load_file

from condiff.config.compose import check, register
from condiff.data.captions import captions_of
from condiff.diffusion.randomness import SampleNoise
from condiff.interrupts import Interrupts
from condiff.stages.driver import run_study
from condiff.stages.finished_adapters import FILE
from condiff.stages.study import STAGES

NUM, STEPS, SCALE = 2, 3, 7.5
STUDY = (
    *("experiment=lora_digits", "data=shapes", "data.size=32", "data.num_train=16", "data.num_held_out=16"),
    *("stages=[data,denoiser,samples]", "sampler=ddim_leading", f"sampler.steps={STEPS}"),
    *(f"guidance.scale={SCALE}", f"num_samples={NUM}", "adapter=attention", "adapter.optimizer.lr=0.05"),
    *("adapter.trainer.steps=3", "adapter.trainer.batch_size=4", "logger.wandb=off"),
    *("logger.pictures_every=0", "runtime.accelerator=cpu"),
)


def theirs(pipeline, captions):
    noise = SampleNoise(0, range(len(captions))).normal(4, 8, 8)
    told = {"num_inference_steps": STEPS, "guidance_scale": SCALE, "latents": noise, "output_type": "pt"}
    return pipeline(captions, **told).images


def test_a_pipeline_that_loads_the_file_draws_what_the_study_has_drawn(tmp_path):
    register()
    pipeline = tiny.saved(tmp_path / "model")
    words = (f"base={tmp_path / 'model'}", f"runtime.cache={tmp_path / 'cache'}")
    (cfg,) = check([*STUDY, *words], CONF, [stage.name for stage in STAGES]) or []
    run_study(cfg, tmp_path / "run", Interrupts())
    stages = json.loads((tmp_path / "run" / "stages.json").read_text())
    assert "base_latents" not in stages
    stored = load_file(Path(stages["samples"]["path"]) / "samples.safetensors")
    captions, own = captions_of(stored), stored["image"].float() / 255
    before = theirs(pipeline, captions)
    pipeline.load_lora_weights(Path(stages["adapter"]["path"]) / FILE)
    after = theirs(pipeline, captions)
    assert (after - before).abs().max() > 0.02  # of 1, and a pixel is rounded to 1 / 255
    torch.testing.assert_close(own, after, rtol=0, atol=0.6 / 255)
