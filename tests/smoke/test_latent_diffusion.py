"""An LDMPipeline of diffusers, told nothing: what is drawn from its folder is what its own loop draws."""

import pytest
import tiny_stable_diffusion as tiny
import torch
from autoencoders.models import randomized
from choices import CONF
from diffusers.models.autoencoders.vq_model import VQModel
from diffusers.pipelines.deprecated.latent_diffusion_uncond import pipeline_latent_diffusion_uncond as theirs
from networks.test_pretrained_unet import plain
from PIL import Image

from condiff.config.compose import check, register
from condiff.config.origins import origin_of
from condiff.diffusion.randomness import SampleNoise
from condiff.errors import ConfigError
from condiff.interrupts import Interrupts
from condiff.stages.denoiser import load_denoiser
from condiff.stages.driver import run_study
from condiff.stages.run_folders import artifacts_of
from condiff.stages.samples import drawn
from condiff.stages.study import STAGES

NUM, STEPS = 2, 4
LEVELS = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 8,
}


def saved(folder, scheduler):
    torch.manual_seed(0)
    codes = randomized(VQModel(**LEVELS, num_vq_embeddings=16, scaling_factor=0.7)).eval()
    torch.nn.init.normal_(codes.quantize.embedding.weight)
    unet = randomized(plain(in_channels=3, out_channels=3, sample_size=16)).eval()
    pipeline = theirs.LDMPipeline(codes, unet, scheduler)
    pipeline.save_pretrained(folder)
    return tiny.quiet(pipeline)


def test_it_is_drawn_from_as_its_own_loop_draws(tmp_path, monkeypatch):
    register()
    pipeline = saved(tmp_path / "model", tiny.ddim())
    task = ("task=sample", f"from={tmp_path / 'model'}", f"n={NUM}", f"sampler.steps={STEPS}")
    more = (f"runtime.cache={tmp_path / 'cache'}", "runtime.accelerator=cpu")
    (cfg,) = check([*task, *more], CONF, [stage.name for stage in STAGES]) or []
    run_study(cfg, tmp_path / "run", Interrupts())
    pictures = (tmp_path / "run" / "samples").glob("*.png")
    assert [Image.open(file).text["prompt"] for file in pictures] == [""] * NUM  # it was asked for nothing
    made = artifacts_of(str(tmp_path / "run"), "from")
    own = drawn(cfg, made, load_denoiser(made["denoiser"], made["data"]), torch.device("cpu"))["image"]
    noise = SampleNoise(0, range(NUM)).normal(3, 16, 16)
    monkeypatch.setattr(theirs, "randn_tensor", lambda *_, **__: noise)
    found = pipeline(NUM, num_inference_steps=STEPS, output_type="np").images
    expected = torch.from_numpy(found).permute(0, 3, 1, 2)
    torch.testing.assert_close(own.clamp(-1, 1) / 2 + 0.5, expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.05  # not grey: there is something to compare
    assert (expected[0] - expected[1]).abs().max() > 0.1


def test_one_that_clips_what_it_expects_is_one_line(tmp_path):
    scheduler = tiny.ddim()
    scheduler.register_to_config(clip_sample=True)
    saved(tmp_path, scheduler)
    with pytest.raises(ConfigError, match=r"^error\[2\]: from: .*: clip_sample must be false, got True; no"):
        origin_of(str(tmp_path))
