"""A StableDiffusionPipeline, of Stable Diffusion 1 or 2, as a study; no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condiff.autoencoders.published import found
from condiff.config.pipeline_files import Study, length, side, unshifted
from condiff.config.schedulers import choices_of
from condiff.model_folders import CONFIG, read_config
from condiff.networks.pretrained_settings import SCHEDULER

KIND = "StableDiffusionPipeline"
PARTS = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
    "text_encoder": ("CLIPTextModel",),
}


def study(folder: Path, index: Mapping[str, Any]) -> Study:
    scheduler, first = folder / SCHEDULER, found(str(folder))
    choices, values = choices_of(read_config(scheduler), str(scheduler))
    return Study(
        ("experiment=stable_diffusion", *choices),
        {
            **values,
            "data.size": side(folder / "unet" / CONFIG) * first.downsampling,
            "autoencoder.network.weights": str(folder),
            "autoencoder.network.scale": unshifted(first, KIND),
            "conditioner.encoder.length": length(folder),
        },
    )
