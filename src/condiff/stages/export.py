"""A trained study of text as a folder of diffusers, which its StableDiffusionPipeline runs."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from condiff.autoencoders.diffusers_models import DiffusersKL
from condiff.autoencoders.exported import exported
from condiff.config.nodes import argument, at, attribute, class_of
from condiff.config.schedulers import scheduler_of
from condiff.errors import ConfigError
from condiff.stages.adapted import with_whole
from condiff.stages.autoencoder import load_autoencoder
from condiff.stages.denoiser import Trained, load_denoiser
from condiff.stages.exported_adapter import leave_adapter
from condiff.stages.exported_pipeline import is_trained_whole, leave_pipeline
from condiff.stages.finished_adapters import ADAPTER
from condiff.stages.latents import load_space
from condiff.stages.run_folders import EXPORTED_ADAPTER, PIPELINE, artifacts_of, read_run
from condiff.stages.stage import Artifact, Config, Runtime
from condiff.stages.untrained import is_given

log = logging.getLogger(__name__)
_SPACINGS = {"Leading": "leading", "UniformTime": "trailing"}  # grids that pipelines walk alike
_GUIDED = ("ClassifierFree", "NoGuidance")  # as a pipeline guides
_MADE_OF = (
    "a pipeline is made of a study with conditioner=text_clip, network=ldm_small, ldm_f8, stable_diffusion_1"
    " or pretrained, process=scaled_linear, linear or cosine_ddpm, objective=eps, v or x0, and"
    " autoencoder=kl_f8, kl_f4 or pretrained, as experiment=sd/text_to_image is"
)


def export(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """``pipeline``, of the weights that the run samples with; ConfigError with a line of all that has no
    words in diffusers. ``adapter``, of a run that has trained one, for which the pipeline is the base.

    A network all of which the run has trained is no adapter but in the pipeline, with all else of the base.
    """
    given = cfg["from"]
    run, made = read_run(Path(given).expanduser()), artifacts_of(given, "from")
    wrong = [*unsaid(run.config, made)]
    is_whole, is_of_others = is_trained_whole(made), is_given(at(run.config, "network"))
    is_changed_copy, base = is_whole and is_of_others, run.config.get("base")
    has_adapter = ADAPTER in made and leave_adapter(given, made, out / EXPORTED_ADAPTER)
    why = [f"that is its base, {base}"] if base is not None and is_of_others else wrong
    if has_adapter and why and not is_changed_copy:  # the adapter is what the run was for
        log.info("no pipeline beside it: %s", why[0])
        return
    if wrong and not is_changed_copy:
        raise ConfigError(f"from: {given} cannot be exported: {'; '.join(wrong)}; {_MADE_OF}")
    chosen = run.config.get("checkpoint"), run.config.get("average")
    trained = load_denoiser(made["denoiser"], made["data"], made.get("texts"), *chosen)
    if is_changed_copy:
        leave_pipeline(run.config, made, trained, out / PIPELINE)
        return
    with with_whole(run.config, made, trained) if is_whole else nullcontext():
        _leave_own(made, trained, run.config, out / PIPELINE)
    for line in otherwise(run.config):
        log.warning("%s", line)
    log.info("as in the run: %s", as_in_the_run(run.config))


def _leave_own(made: Mapping[str, Artifact], trained: Trained, cfg: Config, out: Path) -> None:
    network, encoder = cast(Any, trained[0].network), cast(Any, trained[1]).encoder
    encoder.tokenizer.model_max_length = encoder.length
    network.net.register_to_config(sample_size=trained[2][-1])  # what the pipeline draws where it is not told
    pipeline = StableDiffusionPipeline(
        vae=_first_stage(made),
        text_encoder=encoder.network,
        tokenizer=encoder.tokenizer,
        unet=network.net,
        scheduler=cast(Any, scheduler(cfg)),
        safety_checker=cast(Any, None),
        feature_extractor=cast(Any, None),
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(out)


def unsaid(cfg: Config, made: Mapping[str, Artifact]) -> Iterator[str]:
    """What of a run no StableDiffusionPipeline can be told, some words each."""
    network, conditioner = at(cfg, "network"), at(cfg, "conditioner")
    if not {"denoiser", "latents"} <= made.keys():
        yield "it has no denoiser on latents"
        return
    encoder = at(conditioner, "encoder")
    if class_of(encoder) != "ClipText":
        what = f"{class_of(conditioner)} through {class_of(encoder)}" if encoder else class_of(conditioner)
        yield f"its conditioner is {what}, and no pipeline of diffusers tells a U-Net but of CLIP's text"
    if not attribute(network, "needs_chain") or not attribute(network, "attends"):
        yield f"its network, {class_of(network)}, does not attend to text by the step of a chain"
    if scheduler_of(cfg) is None:
        yield (
            f"its process is {class_of(at(cfg, 'process'))} and its target"
            f" {class_of(at(cfg, 'objective', 'parameterization'))}"
        )
    if load_autoencoder(made["autoencoder"], made["data"]).exportable() is None:
        yield (
            f"its first stage, {class_of(at(cfg, 'autoencoder', 'network'))}, is no AutoencoderKL for"
            " pictures of these channels"
        )


def _first_stage(made: Mapping[str, Artifact]) -> AutoencoderKL:
    module = load_autoencoder(made["autoencoder"], made["data"]).exportable()
    assert isinstance(module, DiffusersKL)
    config, state = exported(module, load_space(made["latents"]))
    own = cast(AutoencoderKL, AutoencoderKL.from_config(config))
    own.load_state_dict(state, strict=True)
    return own.eval()


def scheduler(cfg: Config) -> DDIMScheduler:
    """DDIM on the steps that the run samples at, its last one to the data; StableDiffusionPipeline would set
    an offset other than 1 to 1.
    """
    settings = scheduler_of(cfg)
    assert settings is not None
    spacing = _SPACINGS.get(class_of(at(cfg, "sampler", "grid")), "leading")
    return DDIMScheduler(
        **settings,
        timestep_spacing=cast(Any, spacing),
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=True,
    )


def otherwise(cfg: Config) -> Iterator[str]:
    """How a run samples and its pipeline does not, a sentence each."""
    sampler, grid = class_of(at(cfg, "sampler")), class_of(at(cfg, "sampler", "grid"))
    guidance = class_of(at(cfg, "guidance"))
    if sampler != "DDIM":
        yield f"sampler: is {sampler} in the run, and DDIM in the pipeline; use sampler=ddim to compare them"
    if grid not in _SPACINGS:
        yield f"sampler.grid: {grid} is none of a pipeline's; its steps are those of sampler=ddim_leading"
    if guidance not in _GUIDED:
        yield f"guidance: is {guidance} in the run, and classifier-free at one scale in the pipeline"


def as_in_the_run(cfg: Config) -> str:
    """What the pipeline is to be told when it is called."""
    sampler, guidance = at(cfg, "sampler"), at(cfg, "guidance")
    scale, eta = argument(guidance, "scale"), argument(sampler, "eta")
    negative = f", negative_prompt={guidance['negative']!r}" if guidance.get("negative") else ""
    steps = f"num_inference_steps={argument(sampler, 'steps')}"
    return f"{steps}, guidance_scale={1 if scale is None else scale:g}{negative}, eta={eta or 0:g} (DDIM)"
