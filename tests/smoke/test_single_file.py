"""A whole single file of Stable Diffusion 1, in its authors' layout: it draws what a pipeline of it draws."""

import pytest
import tiny_stable_diffusion as tiny
import torch
from autoencoders.models import randomized
from choices import CONF
from conditioners.test_clip_single_file import IDS, of_clip
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
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
    """The pipeline of the parts, the config of a study on the file of all of them, and what it leaves."""
    folder = tmp_path_factory.mktemp("file")
    whole = tiny.saved(folder / "clip")  # read for the tokenizer and the shape of the text encoder alone
    torch.manual_seed(3)
    clip = randomized(tiny.clip_text(whole.tokenizer)).eval()
    net, vae = u_net(seed=1, **SHAPE), first_stage(seed=2)
    unet = UNet2DConditionModel.from_config(net.net.config).eval()
    unet.load_state_dict(convert_ldm_unet_checkpoint(of_u_net(net), {"layers_per_block": SHAPE["blocks"]}))
    pipeline = StableDiffusionPipeline(
        **{**whole.components, "unet": unet, "vae": vae, "text_encoder": clip}, requires_safety_checker=False
    )
    tensors = {**of_u_net(net), **of_first_stage(vae), **of_clip(clip), IDS: torch.arange(tiny.LENGTH)[None]}
    file = saved(folder / "model.safetensors", tensors)
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


def test_it_draws_what_the_pipeline_of_the_same_weights_draws(made):
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
