"""A StableDiffusion3Pipeline as a study; no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condiff.autoencoders.published import found
from condiff.config.flow_schedulers import choices_of
from condiff.config.pipeline_files import Study, length, scale, side
from condiff.model_folders import CONFIG, read_config
from condiff.networks.pretrained_settings import SCHEDULER

KIND = "StableDiffusion3Pipeline"
_CLIP = ("CLIPTextModelWithProjection",)
PARTS = {
    "transformer": ("SD3Transformer2DModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": _CLIP,
    "text_encoder_2": _CLIP,
    "text_encoder_3": ("T5EncoderModel", None),
}
_WIDTH = "joint_attention_dim"


def study(folder: Path, index: Mapping[str, Any]) -> Study:
    scheduler, first = folder / SCHEDULER, found(str(folder))
    choices, values = choices_of(read_config(scheduler), str(scheduler))
    transformer = folder / "transformer" / CONFIG
    return Study(
        (
            *("experiment=stable_diffusion", *choices, "objective=velocity"),
            *("conditioner=text_sd3", "network=pretrained_sd3"),
        ),
        {
            **values,
            "data.size": side(transformer) * first.downsampling,
            "autoencoder.network.weights": str(folder),
            "autoencoder.network.scale": scale(first),
            "autoencoder.network.shift": first.config.get("shift_factor") or 0.0,
            "conditioner.encoder.clip_length": length(folder),
            "conditioner.encoder.width": read_config(transformer).get(_WIDTH, 4096),
            "guidance.scale": 7.0,  # of the pipeline, where none is asked for
        },
    )
