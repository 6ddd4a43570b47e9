"""A trained study of text as a folder of diffusers: its pipeline draws what our sampler draws."""

import json

import pytest
import tiny_stable_diffusion as tiny
import torch
from autoencoders.models import saved as saved_first_stage
from choices import CONF
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from safetensors.torch import load_file

from condiff.config.compose import check, read_command, register
from condiff.data.captions import captions_of
from condiff.diffusion.randomness import SampleNoise
from condiff.errors import ConfigError, DataError
from condiff.files import read_json
from condiff.interrupts import Interrupts
from condiff.stages.denoiser import load_denoiser
from condiff.stages.driver import can_be_measured, run_study
from condiff.stages.run_folders import artifacts_of
from condiff.stages.samples import drawn
from condiff.stages.study import STAGES
from tests.smoke.conftest import TINY

NAMES = [stage.name for stage in STAGES]
NUM, STEPS, SCALE = 4, 4, 3.0
STUDY = (
    *("experiment=cfg_latent", "data=shapes", "stages=[data,autoencoder,latents,denoiser,samples]"),
    *("data.num_train=24", "data.num_held_out=8", f"num_samples={NUM}", "logger.wandb=off"),
    *("autoencoder=pretrained", "conditioner=text_clip", f"conditioner.encoder.length={tiny.LENGTH}"),
    *("network=ldm_small", "process=scaled_linear", "objective=v", "sampler=ddim_leading"),
    *(f"sampler.steps={STEPS}", f"guidance.scale={SCALE}", "trainer.steps=4", "trainer.batch_size=8"),
    "runtime.accelerator=cpu",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which a study has run, whose latents are normalised as measured."""
    folder = tmp_path_factory.mktemp("export")
    tiny.saved(folder / "model")
    saved_first_stage(folder / "vae")
    run(folder, "run", *STUDY, *given(folder))
    return folder


def given(folder):
    return [
        f"autoencoder.network.weights={folder / 'vae'}",
        f"conditioner.encoder.path={folder / 'model'}",
    ]


def configured(folder, *overrides):
    register()
    (cfg,) = check([*overrides, f"runtime.cache={folder / 'cache'}"], CONF, NAMES) or []
    return cfg


def run(folder, name, *overrides):
    run_study(configured(folder, *overrides), folder / name, Interrupts())


def exported(folder, name="run"):
    run(folder, f"{name}_exported", "task=export", f"from={folder / name}", "logger.wandb=off")
    return folder / f"{name}_exported" / "pipeline"


@pytest.mark.parametrize("negative", [None, pytest.param("blurry", marks=pytest.mark.slow)])
@torch.no_grad()
def test_the_pipeline_of_an_export_draws_what_the_study_draws(negative, trained):
    folder = exported(trained)
    pipeline = DiffusionPipeline.from_pretrained(folder)
    assert type(pipeline).__name__ == "StableDiffusionPipeline"
    pipeline.set_progress_bar_config(disable=True)
    made = artifacts_of(str(trained / "run"), "from")
    told = [] if negative is None else [f"guidance.negative={negative}"]
    cfg = configured(trained, *STUDY, *given(trained), *told)
    own = load_denoiser(made["denoiser"], made["data"], made["texts"])
    found = drawn(cfg, made, own, torch.device("cpu"))
    theirs = pipeline(
        captions_of(found),
        negative_prompt=negative and [negative] * NUM,
        num_inference_steps=STEPS,
        guidance_scale=SCALE,
        latents=SampleNoise(0, range(NUM)).normal(*own[2]),
        output_type="pt",
    ).images
    torch.testing.assert_close(found["image"].clamp(-1, 1) / 2 + 0.5, theirs, rtol=0, atol=1e-4)
    assert theirs.std() > 0.02


def test_an_export_has_every_part_and_says_how_the_run_samples(trained):
    folder = exported(trained)
    index = read_json(folder / "model_index.json")
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["safety_checker"] == [None, None]
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    assert (scheduler["prediction_type"], scheduler["timestep_spacing"]) == ("v_prediction", "leading")
    assert read_json(folder / "vae" / "config.json")["scaling_factor"] == 1.0
    log = (trained / "run_exported" / "run.log").read_text()
    assert f"as in the run: num_inference_steps={STEPS}, guidance_scale={SCALE:g}, eta=0 (DDIM)" in log


@pytest.mark.slow
def test_a_run_of_ours_all_of_which_was_trained_further_is_exported_and_read_back_the_same(trained):
    """What is drawn from the pipeline of a base that was trained here, too, is what its study has drawn."""
    asked = (f"sampler.steps={STEPS}", f"guidance.scale={SCALE}", "text=a red circle", *STUDY[-1:])
    further = (
        "adapter=full",
        "adapter.trainer.steps=2",
        "adapter.trainer.batch_size=8",
        "adapter.optimizer.lr=0.02",
    )
    study = (
        "experiment=cfg_latent",
        "stages=[data,denoiser,samples]",
        f"num_samples={NUM}",
        "logger.wandb=off",
    )
    data = [word for word in STUDY if word.startswith("data")]
    base = f"base={trained / 'run'}"
    run(trained, "further", *study, *data, base, *further, "sampler=ddim_leading", *asked)
    sources = {"back": exported(trained, "further"), "before": trained / "run"}
    for name, source in sources.items():
        run(trained, name, "task=sample", f"from={source}", f"n={NUM}", "logger.wandb=off", *asked)
    made = [artifacts_of(str(trained / name), "from")["samples"] for name in ("further", *sources)]
    own, back, before = (load_file(drawn.path / "samples.safetensors")["image"].float() for drawn in made)
    torch.testing.assert_close(back, own, rtol=0, atol=1.0)  # of 255: rounded
    assert (own - before).abs().max() > 5


@pytest.mark.slow
def test_an_export_is_a_model_that_a_study_can_be_given(trained):
    """Back again: its samples from the folder are those of the study that was exported."""
    folder = exported(trained)
    again = (
        *("experiment=stable_diffusion", "data.size=32", "data.num_train=24", "data.num_held_out=8"),
        *("objective=v", f"num_samples={NUM}", f"sampler.steps={STEPS}", f"guidance.scale={SCALE}"),
        *(f"conditioner.encoder.length={tiny.LENGTH}", "autoencoder.network.scale=1", "logger.wandb=off"),
        *("runtime.accelerator=cpu", f"autoencoder.network.weights={folder}"),
    )
    run(trained, "again", *again)
    images = []
    for name, words in (("run", (*STUDY, *given(trained))), ("again", again)):
        made = artifacts_of(str(trained / name), "from")
        own = load_denoiser(made["denoiser"], made["data"], made["texts"])
        images.append(drawn(configured(trained, *words), made, own, torch.device("cpu"))["image"])
    torch.testing.assert_close(*images, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_an_export_is_drawn_from_as_its_run_is(trained):
    texts = ("a red circle on white", "two small things")
    asked = (f"text=[{','.join(texts)}]", f"n={NUM}", f"sampler.steps={STEPS}", f"guidance.scale={SCALE}")
    images = []
    for name, source in (("drawn", trained / "run"), ("drawn_of_export", exported(trained))):
        run(trained, name, "task=sample", f"from={source}", *asked, "negative=blurry", *STUDY[-1:])
        images.append(load_file(trained / name / "samples.safetensors")["image"].float())
    torch.testing.assert_close(*images, rtol=0, atol=1.0)  # of 255: rounded
    assert images[0].std() > 5


@pytest.mark.slow
def test_what_no_pipeline_can_be_told_is_refused_in_a_line_each(tmp_path):
    study = ("stages=[data,autoencoder,latents,denoiser,samples]", "autoencoder.trainer.steps=3")
    run(tmp_path, "run", *TINY, *study, "autoencoder.network.width=16")
    with pytest.raises(ConfigError) as told:
        exported(tmp_path)
    start = f"from: {tmp_path / 'run'} cannot be exported: its"
    assert [line.partition(",")[0] for line in told.value.lines] == [
        f"{start} conditioner is ClassLabel",
        f"{start} network",
        f"{start} process is CosineVP and its target V",
        f"{start} first stage",
    ]
    run(tmp_path, "pixels", *TINY, "stages=[data,denoiser,samples]", "~autoencoder")
    with pytest.raises(ConfigError, match="it has no denoiser on latents, which a pipeline of text needs"):
        exported(tmp_path, "pixels")


def test_a_run_that_is_not_there_is_told_before_anything_is_made(tmp_path):
    cfg = configured(tmp_path, "task=export", f"from={tmp_path / 'gone'}")
    with pytest.raises(DataError, match=r"^error\[\d\]: from: .*gone does not exist"):
        can_be_measured(cfg, set())
    (tmp_path / "gone").mkdir()
    with pytest.raises(
        DataError, match=r"from: .*gone has no stages\.json; give the folder of a finished run"
    ):
        can_be_measured(cfg, set())


def test_an_artifact_that_has_gone_is_told(tmp_path):
    (tmp_path / "run").mkdir()
    for name, text in {"config.yaml": "{}", "metrics.json": "{}"}.items():
        (tmp_path / "run" / name).write_text(text)
    stages = {"denoiser": {"key": "a", "path": str(tmp_path / "nowhere")}}
    (tmp_path / "run" / "stages.json").write_text(json.dumps(stages))
    with pytest.raises(DataError, match=r"from: .*nowhere, the denoiser of .*run, is there no more; run the"):
        artifacts_of(str(tmp_path / "run"), "from")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task=export"], "from: "),
        (["task=export", "from=a", "seed=3"], "seed=3: has no effect on task=export, which reads from, name"),
        (
            ["experiment=cfg_latent", "from=a"],
            "from: has no effect here, only with task=sample or export; leave it out",
        ),
    ],
)
def test_what_an_export_is_asked_for_is_its_run_alone(words, said):
    with pytest.raises(ConfigError) as told:
        read_command(words, CONF, NAMES)
    assert told.value.lines[0].startswith(said), told.value.lines
