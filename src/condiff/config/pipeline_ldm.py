"""An LDMPipeline, latent diffusion without a condition, as a study; no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condiff.autoencoders.published import found
from condiff.config.pipeline_files import Study, scale, side
from condiff.config.schedulers import choices_of
from condiff.model_folders import CONFIG, read_config
from condiff.networks.pretrained_settings import SCHEDULER

KIND = "LDMPipeline"
PARTS = {"unet": ("UNet2DModel",), "vqvae": ("VQModel", "AutoencoderKL")}
_NUM = 16  # pictures of each split, of which only the size is asked


def study(folder: Path, index: Mapping[str, Any]) -> Study:
    """ValueError where its DDIM clips what it expects of the data, which none does here."""
    file, first = folder / SCHEDULER, found(str(folder))
    said = read_config(file)
    clips = said.get("clip_sample", True)  # in diffusers, where a file leaves it out
    if clips:
        raise ValueError(f"{file}: clip_sample must be false, got {clips}; no DDIM here clips")
    choices, values = choices_of(said, str(file))
    is_leading = "sampler=ddim_leading" in choices
    offset = {"sampler.grid.offset": said.get("steps_offset", 0)} if is_leading else {}
    parts = ("autoencoder=pretrained", "conditioner=none", "network=pretrained", "guidance=none")
    return Study(
        ("data=shapes", *parts, *choices),
        {
            **values,
            **offset,
            "stages": ["data", "autoencoder", "latents", "denoiser", "samples"],
            "method.drop_condition": 0.0,
            "data.size": side(folder / "unet" / CONFIG) * first.downsampling,
            "data.num_train": _NUM,
            "data.num_held_out": _NUM,
            "autoencoder.network.weights": str(folder),
            "autoencoder.network.scale": scale(first),
            "network.weights": str(folder),
        },
    )
