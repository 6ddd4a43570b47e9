"""A Stable Diffusion that others have trained, by one path: our samples are those of diffusers' pipeline."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_stable_diffusion as tiny
import torch
from autoencoders.models import randomized
from choices import CONF
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
from PIL import Image
from safetensors.torch import load_file

from condiff.adapters.branch import Branch
from condiff.adapters.control import GuessDiffusers
from condiff.config.compose import check, read_command, register
from condiff.data.captions import captions_of
from condiff.diffusion.randomness import SampleNoise
from condiff.errors import ConfigError
from condiff.interrupts import Interrupts
from condiff.stages.adapted import adapted
from condiff.stages.denoiser import load_denoiser
from condiff.stages.driver import run_study
from condiff.stages.given import weights_are_there
from condiff.stages.samples import drawn
from condiff.stages.stage import PICTURES_MADE, Artifact
from condiff.stages.study import STAGES
from condiff.stages.taken import refuse_drawing
from condiff.stages.tunings import controlled

NAMES = [stage.name for stage in STAGES]
NUM, STEPS, SCALE = 4, 5, 7.5
SMALL = (
    *("data.size=32", "data.num_train=16", "data.num_held_out=16", f"num_samples={NUM}"),
    *(f"sampler.steps={STEPS}", f"autoencoder.network.scale={tiny.SCALE}", "logger.wandb=off"),
    *("runtime.accelerator=cpu", f"conditioner.encoder.length={tiny.LENGTH}"),
)


def words(folder, *overrides):
    given = f"autoencoder.network.weights={folder / 'model'}"
    return ["experiment=stable_diffusion", *SMALL, given, f"runtime.cache={folder / 'cache'}", *overrides]


def configured(folder, *overrides):
    register()
    (cfg,) = check(words(folder, *overrides), CONF, NAMES) or []
    return cfg


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The pipeline, its folder, and the artifacts of a study on it."""
    folder = tmp_path_factory.mktemp("sd")
    pipeline = tiny.saved(folder / "model")
    run_study(configured(folder), folder / "run", Interrupts())
    stages = json.loads((folder / "run" / "stages.json").read_text())
    inputs = {}
    for name, stage in stages.items():
        manifest = json.loads((Path(stage["path"]) / "manifest.json").read_text())
        inputs[name] = Artifact(stage["key"], Path(stage["path"]), manifest)
    return pipeline, folder, inputs


def asked(folder, *overrides):
    """The config of a task that draws from the folder, of which it is told nothing else."""
    words = ("task=sample", f"from={folder / 'model'}", f"sampler.steps={STEPS}", "runtime.accelerator=cpu")
    cache = [] if any("cache" in word for word in overrides) else [f"runtime.cache={folder / 'cache'}"]
    (cfg,) = check([*words, *cache, *overrides], CONF, NAMES) or []
    refuse_drawing(cfg)
    return cfg


def ours(folder, inputs, *overrides):
    """In [0, 1]; and the captions that were asked for."""
    return drawn_by(configured(folder, *overrides), inputs)


def drawn_by(cfg, inputs):
    trained = load_denoiser(inputs["denoiser"], inputs["data"], inputs["texts"])
    found = drawn(cfg, inputs, trained, torch.device("cpu"))
    return found["image"].clamp(-1, 1) / 2 + 0.5, captions_of(found)


def theirs(pipeline, captions, negative=None, scale=SCALE):
    noise = SampleNoise(0, range(len(captions))).normal(4, 8, 8)
    return pipeline(
        captions,
        negative_prompt=negative,
        num_inference_steps=STEPS,
        guidance_scale=scale,
        latents=noise,
        output_type="pt",
    ).images


@pytest.mark.parametrize("negative", [None, "blurry"])
def test_samples_are_those_of_the_pipeline_for_the_same_noise(negative, made):
    pipeline, folder, inputs = made
    told = [] if negative is None else [f"guidance.negative={negative}"]
    images, captions = ours(folder, inputs, *told)
    assert len({*captions}) > 1
    expected = theirs(pipeline, captions, negative and [negative] * NUM)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.05  # not grey: the pictures are something to compare
    other = theirs(pipeline, captions, None if negative else ["blurry"] * NUM)
    assert (images - other).abs().max() > 1e-3


def test_a_folder_to_draw_from_is_bit_for_bit_the_study_that_is_told_what_it_states(made, tmp_path):
    _, folder, inputs = made
    run_study(asked(folder, f"n={NUM}", f"runtime.cache={tmp_path / 'new'}"), tmp_path / "run", Interrupts())
    stages = json.loads((tmp_path / "run" / "stages.json").read_text())
    assert {name: stage["key"] for name, stage in stages.items()} == {
        name: artifact.key for name, artifact in inputs.items()
    }
    assert {stage["status"] for stage in stages.values()} == {"run"}
    own, study = (load_file(place / PICTURES_MADE) for place in (tmp_path / "run", inputs["samples"].path))
    assert torch.equal(own["image"], study["image"])
    assert len([*(tmp_path / "run" / "samples").iterdir()]) == NUM


@pytest.mark.parametrize("negative", [None, "blurry"])
def test_a_folder_to_draw_from_draws_what_its_pipeline_draws_of_a_text(negative, made):
    pipeline, folder, inputs = made
    texts = ["two small things", "a red circle on white"]
    told = [] if negative is None else [f"negative={negative}"]
    images, captions = drawn_by(asked(folder, "n=2", f"text=[{','.join(texts)}]", *told), inputs)
    assert captions == texts
    expected = theirs(pipeline, texts, negative and [negative] * 2)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-4)


def test_each_sample_may_be_led_away_from_words_of_its_own(made):
    pipeline, folder, inputs = made
    negative = ["blurry", "two small things"] * (NUM // 2)
    images, captions = ours(folder, inputs, "guidance.negative=[blurry,two small things]")
    torch.testing.assert_close(images, theirs(pipeline, captions, negative), rtol=0, atol=1e-4)


def test_the_plain_model_is_that_of_the_pipeline_without_guidance(made):
    pipeline, folder, inputs = made
    images, captions = ours(folder, inputs, "guidance.scale=1")
    torch.testing.assert_close(images, theirs(pipeline, captions, scale=1.0), rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def controls(made):
    """Two ControlNets of the pipeline as diffusers saves them, two hints each, and the words for both."""
    pipeline, folder, _ = made
    rng, nets = np.random.default_rng(0), []
    for name in "ab":
        net = ControlNetModel.from_unet(pipeline.unet, conditioning_embedding_out_channels=(8, 8, 8))
        nets.append(randomized(net).eval())
        net.controlnet_cond_embedding.conv_out.weight.data.mul_(30)  # random layers hardly pass a hint on
        net.save_pretrained(folder / name)
    hints = rng.integers(0, 256, (2, 2, 32, 32, 3), dtype=np.uint8)
    for own, name in zip(hints, "ab", strict=True):
        (folder / f"hints_{name}").mkdir()
        for number, pixels in enumerate(own):
            Image.fromarray(pixels).save(folder / f"hints_{name}" / f"{number}.png")
    given = f"adapters=[{folder / 'a'}:0.7,{folder / 'b'}:0.4]"
    named = f"control=[{folder / 'hints_a'},{folder / 'hints_b'}]"
    return nets, torch.from_numpy(hints).movedim(-1, 2) / 255, (given, named)


def with_control(pipeline, net, **told):
    whole = StableDiffusionControlNetPipeline(**pipeline.components, controlnet=net)
    whole.set_progress_bar_config(disable=True)
    noise = SampleNoise(0, range(2)).normal(4, 8, 8)
    options = {"num_inference_steps": STEPS, "guidance_scale": SCALE, "latents": noise, "output_type": "pt"}
    return whole(["two small things", "a red circle on white"], **options, **told).images


def test_two_controlnets_draw_what_the_whole_pipeline_draws_with_both(made, controls):
    (pipeline, folder, inputs), (nets, hints, words) = made, controls
    cfg = asked(folder, "n=2", "text=[two small things,a red circle on white]", *words)
    with adapted(cfg, inputs, load_denoiser(inputs["denoiser"], inputs["data"], inputs["texts"])) as own:
        images = drawn(cfg, inputs, own, torch.device("cpu"))["image"].clamp(-1, 1) / 2 + 0.5
    scales = {"controlnet_conditioning_scale": [0.7, 0.4]}
    expected = with_control(pipeline, nets, image=[*hints], **scales)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-4)
    other = with_control(pipeline, nets, image=[hints[0], hints[0]], **scales)
    assert (images - other).abs().max() > 1e-3


def test_each_controlnet_has_its_own_part_of_the_way(made, controls):
    """Theirs counts steps begun, ours how far they are: the second begins with the third step in both."""
    (pipeline, folder, inputs), (nets, hints, (_, named)) = made, controls
    both = f"adapters=[{folder / 'a'}:0.7:0-0.5,{folder / 'b'}:0.4:0.5-1]"
    cfg = asked(folder, "n=2", "text=[two small things,a red circle on white]", both, named)
    with adapted(cfg, inputs, load_denoiser(inputs["denoiser"], inputs["data"], inputs["texts"])) as own:
        images = drawn(cfg, inputs, own, torch.device("cpu"))["image"].clamp(-1, 1) / 2 + 0.5
    told = {"image": [*hints], "controlnet_conditioning_scale": [0.7, 0.4]}
    parts = {"control_guidance_start": [0.0, 0.4], "control_guidance_end": [0.5, 1.0]}
    expected = with_control(pipeline, nets, **told, **parts)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-4)
    assert (images - with_control(pipeline, nets, **told)).abs().max() > 1e-3


def test_hints_are_one_for_all_or_one_for_each(made, controls):
    (_, folder, inputs), (_, _, (both, named)) = made, controls
    trained = load_denoiser(inputs["denoiser"], inputs["data"], inputs["texts"])
    cfg = asked(folder, "n=2", f"adapters=[{folder / 'a'}]", named)
    with (
        pytest.raises(ConfigError, match="one for each of 1 ControlNet, got 2"),
        adapted(cfg, inputs, trained),
    ):
        pass
    with adapted(asked(folder, "n=2", both, f"control={folder / 'hints_a'}"), inputs, trained) as own:
        assert [own[0].network.place, own[0].network.network.place] == [(0, 1), (0, 1)]
    mixed = {**cfg, "adapters": [f"{folder / 'a'}:1:guess", str(folder / "b")]}
    with (
        pytest.raises(ConfigError, match="all ControlNets are used so or none"),
        adapted(mixed, inputs, trained),
    ):
        pass


def test_guess_mode_draws_what_the_whole_pipeline_draws_in_it(made, controls):
    """Asked for by name, and put together by hand."""
    (pipeline, folder, inputs), (nets, hints, _) = made, controls
    named = (f"adapters=[{folder / 'a'}:0.7:guess_diffusers]", f"control={folder / 'hints_a'}")
    cfg = asked(folder, "n=2", "text=[two small things,a red circle on white]", *named)
    plain = load_denoiser(inputs["denoiser"], inputs["data"], inputs["texts"])
    with adapted(cfg, inputs, plain) as own:
        found = drawn(cfg, inputs, own, torch.device("cpu"))["image"]
    made_by_hand = controlled(plain, Branch(nets[0]), GuessDiffusers(), 0.7)
    assert torch.equal(drawn(cfg, inputs, made_by_hand, torch.device("cpu"))["image"], found)
    images = found.clamp(-1, 1) / 2 + 0.5
    told = {"image": hints[0], "controlnet_conditioning_scale": 0.7}
    expected = with_control(pipeline, nets[0], guess_mode=True, **told)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-4)
    assert (images - with_control(pipeline, nets[0], **told)).abs().max() > 1e-3


def test_nothing_is_trained_and_latents_have_the_stated_scale(made):
    _, folder, inputs = made
    log = (folder / "run" / "run.log").read_text()
    assert log.count("nothing is trained") == 2
    space = inputs["latents"].path / "space.safetensors"
    assert torch.allclose(load_file(space)["std"], torch.tensor(1 / tiny.SCALE))
    assert not load_file(space)["mean"].any()


def test_a_scale_that_is_not_the_pipelines_is_told(made):
    _, folder, _ = made
    with pytest.raises(ConfigError) as told:
        weights_are_there(configured(folder, "autoencoder.network.scale=0.2"))
    (line,) = told.value.lines
    assert line.startswith("autoencoder.network.scale: must be 0.4 as scaling_factor of")


def test_a_given_denoiser_needs_the_scale_of_its_latents(tmp_path):
    with pytest.raises(ConfigError) as told:
        read_command(words(tmp_path, "autoencoder.network.scale=null"), CONF, NAMES)
    assert [line for line in told.value.lines if line.startswith("autoencoder.network.scale: is null")]
