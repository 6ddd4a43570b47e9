"""A whole single file of Stable Diffusion 1, as its authors have it: diffusers reads it, draws the same."""

import pytest
import tiny_stable_diffusion as tiny
import torch
from autoencoders.models import randomized
from choices import CONF
from conditioners.test_clip_single_file import IDS, of_clip
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from networks.ldm_files import first_stage, of_first_stage, of_u_net, saved, u_net

from condiff.config.compose import check, register
from condiff.data.captions import captions_of
from condiff.interrupts import Interrupts
from condiff.stages.denoiser import load_denoiser
from condiff.stages.driver import run_study
from condiff.stages.run_folders import artifacts_of
from condiff.stages.samples import drawn
from tests.smoke.test_stable_diffusion import NAMES, SMALL, theirs

SHAPE = {"width": 32, "multipliers": [1, 2], "attention": [1], "blocks": 1, "heads": 4, "token_width": 24}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The pipeline that diffusers reads from a file, the config of a study on it, and what that leaves."""
    folder = tmp_path_factory.mktemp("file")
    whole = tiny.saved(folder / "clip")  # read for the tokenizer and the shape of the text encoder alone
    torch.manual_seed(3)
    clip = randomized(tiny.clip_text(whole.tokenizer)).eval()
    tensors = {**of_u_net(u_net(seed=1, **SHAPE)), **of_first_stage(first_stage(seed=2)), **of_clip(clip)}
    file = saved(folder / "model.safetensors", {**tensors, IDS: torch.arange(tiny.LENGTH)[None]})
    # the shapes of all parts for diffusers, with other weights in each
    shapes = {**whole.components, "unet": u_net(seed=4, **SHAPE).net, "vae": first_stage(seed=5)}
    StableDiffusionPipeline(**shapes, requires_safety_checker=False).save_pretrained(folder / "shapes")
    pipeline = StableDiffusionPipeline.from_single_file(
        str(file), config=str(folder / "shapes"), local_files_only=True
    )
    words = (
        *("experiment=stable_diffusion", *SMALL, "network=stable_diffusion_1"),
        *(f"network.{name}={value}".replace(" ", "") for name, value in SHAPE.items()),
        *(f"autoencoder.network.weights={file}", f"conditioner.encoder.weights={file}"),
        *(f"conditioner.encoder.path={folder / 'clip'}", "autoencoder.network.scale=0.18215"),
        *("data.num_train=2", "data.num_held_out=2", "num_samples=2", f"runtime.cache={folder / 'cache'}"),
    )
    register()
    (cfg,) = check([*words], CONF, NAMES) or []
    run_study(cfg, folder / "run", Interrupts())
    return tiny.quiet(pipeline), cfg, artifacts_of(str(folder / "run"), "from")


def test_it_draws_what_diffusers_draws_that_has_read_the_file(made):
    pipeline, cfg, inputs = made
    own, expected = load_denoiser(inputs["denoiser"], inputs["data"], inputs["texts"]), []
    for negative in (None, "blurry"):
        told = {**cfg, "guidance": {**cfg["guidance"], "negative": negative}}
        found = drawn(told, inputs, own, torch.device("cpu"))
        captions = captions_of(found)
        assert len({*captions}) == len(captions) == 2
        expected.append(theirs(pipeline, captions, negative and [negative] * len(captions)))
        torch.testing.assert_close(found["image"].clamp(-1, 1) / 2 + 0.5, expected[-1], rtol=0, atol=1e-4)
    assert expected[0].std() > 0.05  # not grey: the pictures are something to compare
    assert (expected[0] - expected[1]).abs().max() > 1e-3
