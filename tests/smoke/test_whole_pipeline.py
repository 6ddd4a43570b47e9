"""All weights of a pipeline's text encoders trained further, beside a LoRA, or of its denoiser, too.

diffusers draws the same with them in the place of its own.
"""

import json

import pytest
import tiny_pipelines
import tiny_stable_diffusion
import torch
from choices import CONF
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from safetensors.torch import load_file

from condiff.adapters.whole import is_whole
from condiff.config.compose import check, register
from condiff.data.captions import captions_of
from condiff.interrupts import Interrupts
from condiff.stages.driver import run_study
from condiff.stages.exported_adapter import PLACES
from condiff.stages.finished_adapters import ADAPTER, FILE, text_beside
from condiff.stages.stage import LOG, Runtime
from condiff.stages.study import STAGES
from tests.smoke.adapting import NAMES, made_by, ours, theirs, trained_in_two

AVERAGED = "adapter.trainer.ema_decay=0.5"
# How each is made, and what adapts it.
KINDS = {
    "sd": (
        tiny_stable_diffusion.saved,
        ("experiment=lora_sd15", "adapter=stable_diffusion_text_full", "adapter.text_rate=0.5", AVERAGED),
    ),
    "xl": (tiny_pipelines.saved_xl, ("experiment=lora_sd15", "adapter=stable_diffusion_full_with_text")),
}


@pytest.fixture(scope="module", params=["sd", pytest.param("xl", marks=pytest.mark.slow)])
def made(request, tmp_path_factory):
    return made_by(tmp_path_factory.mktemp(request.param), *KINDS[request.param])


def drawn_by(made):
    """The captions of the study's samples, and these."""
    stored = load_file(made.inputs["samples"].path / "samples.safetensors")
    return captions_of(stored), stored["image"].float() / 255


def filled(made):
    """The pipeline with what was trained in the place of its own, strictly, and a LoRA beside it, if any."""
    file = made.inputs["adapter"].path / FILE
    pipeline = type(made.pipeline).from_pretrained(made.folder / "model")
    pipeline.set_progress_bar_config(disable=True)
    tensors = load_file(text_beside(file))
    if is_whole(file):
        tensors |= {name.replace("net.", "unet.", 1): tensor for name, tensor in load_file(file).items()}
    else:
        pipeline.load_lora_weights(file)
    parts = {}
    for name, tensor in tensors.items():
        part, _, own = name.partition(".")
        parts.setdefault(part, {})[own] = tensor
    for part, own in parts.items():
        moved = [not torch.equal(own[name], w) for name, w in getattr(pipeline, part).state_dict().items()]
        assert sum(moved) >= len(moved) / 2  # a last layer may change nothing
        getattr(pipeline, part).load_state_dict(own, strict=True)
    return pipeline


def test_a_pipeline_with_those_weights_draws_what_the_study_has_drawn(made):
    """And so does a task that is given the run's file, at half the scale halfway."""
    captions, own = drawn_by(made)
    file = made.inputs["adapter"].path / FILE
    before, after = theirs(made.pipeline, captions), theirs(filled(made), captions)
    assert (after - before).abs().max() > 0.02  # of 1, and a pixel is rounded to 1 / 255
    torch.testing.assert_close(own, after, rtol=0, atol=0.6 / 255)
    torch.testing.assert_close(ours(made, captions, [str(file)]), after, rtol=0, atol=1e-4)
    halves = ours(made, captions, [f"{file}:0.5", f"{file}:0.5"])
    torch.testing.assert_close(halves, after, rtol=0, atol=1e-3)
    torch.testing.assert_close(ours(made, captions), before, rtol=0, atol=1e-4)


def test_its_export_is_a_pipeline_that_draws_what_the_study_has_drawn(made):
    """With the files of its LoRA, if it has one; what was not trained is the base's, byte for byte."""
    folder = exported(made)
    pipeline = DiffusionPipeline.from_pretrained(folder / "pipeline")
    assert type(pipeline) is type(made.pipeline)
    pipeline.set_progress_bar_config(disable=True)
    has_file = not is_whole(made.inputs["adapter"].path / FILE)
    assert has_file == (folder / "adapter").exists()
    if has_file:
        pipeline.load_lora_weights(folder / "adapter" / PLACES["diffusers"])
    captions, own = drawn_by(made)
    torch.testing.assert_close(own, theirs(pipeline, captions), rtol=0, atol=0.6 / 255)
    torch.testing.assert_close(theirs(filled(made), captions), theirs(pipeline, captions), rtol=0, atol=1e-4)
    base, whole = made.folder / "model", folder / "pipeline"
    files = [file.relative_to(base) for file in base.rglob("*") if (whole / file.relative_to(base)).is_file()]
    same = {str(file) for file in files if (whole / file).read_bytes() == (base / file).read_bytes()}
    assert {"model_index.json", "unet/config.json", "vae/diffusion_pytorch_model.safetensors"} <= same
    assert ("unet/diffusion_pytorch_model.safetensors" in same) == has_file
    assert "text_encoder/model.safetensors" not in same


def exported(made):
    register()
    words = ("task=export", f"from={made.folder / 'run'}", "logger.wandb=off")
    (cfg,) = check([*words, f"runtime.cache={made.folder / 'cache'}"], CONF, NAMES) or []
    run_study(cfg, made.folder / "exported", Interrupts())
    return made.folder / "exported"


@pytest.mark.slow
def test_interrupted_it_ends_bit_for_bit_the_same(made, tmp_path):
    trained_in_two(made, tmp_path)
    file = made.inputs["adapter"].path / FILE
    for once, again in ((file, tmp_path / FILE), (text_beside(file), text_beside(tmp_path / FILE))):
        first, second = load_file(once), load_file(again)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_two_processes_train_denoiser_and_text_as_one_does(made, tmp_path):
    """A batch of four: whole on one process; on two, in two parts, of which each has a sample.

    A weight whose gradient is rounding alone, such as the bias of a key, goes any way with Adam: so the mean.
    """
    cfg = {"prior": None, **made.inputs[ADAPTER].manifest["config"]}
    (stage,) = [stage for stage in STAGES if stage.name == ADAPTER]
    inputs = {name: artifact for name, artifact in made.inputs.items() if name != ADAPTER}
    found, rows = [], []
    for count in (1, 2):
        trainer = {**cfg["adapter"]["trainer"], "batch_size": 4, "accumulate": count}
        own, out = {**cfg["adapter"], "trainer": trainer}, tmp_path / str(count)
        out.mkdir()
        stage.run({**cfg, "adapter": own}, inputs, Runtime("cpu", devices=count), out)
        found.append([load_file(out / FILE), load_file(text_beside(out / FILE))])
        rows.append(json.loads((out / LOG).read_text().splitlines()[-1]))
    for name in ("loss", "grad_norm"):
        assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-4)
    for alone, both in zip(*found, strict=True):
        assert alone.keys() == both.keys()
        apart = torch.cat([(alone[name] - both[name]).flatten() for name in alone])
        assert apart.square().mean().sqrt() < 5e-5  # of steps of up to 0.02 each, for the text 0.01
