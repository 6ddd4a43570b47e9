"""A StableDiffusionXLPipeline as a study; no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condiff.autoencoders.published import found
from condiff.config import pipeline_sd
from condiff.config.pipeline_files import Study

KIND = "StableDiffusionXLPipeline"
PARTS = {**pipeline_sd.PARTS, "text_encoder_2": ("CLIPTextModelWithProjection",)}
_ZEROS = "force_zeros_for_empty_prompt"  # true in diffusers, where a file leaves it out


def study(folder: Path, index: Mapping[str, Any]) -> Study:
    """That of a Stable Diffusion, but for a second text encoder and for what its U-Net is told besides."""
    plain = pipeline_sd.study(folder, index)
    return Study(
        (*plain.choices, "conditioner=text_sdxl", "network=pretrained_xl"),
        {
            **plain.values,
            "guidance.scale": 5.0,  # of the pipeline, where none is asked for
            "network.pixels": found(str(folder)).downsampling,
            "conditioner.encoder.zero_empty": bool(index.get(_ZEROS, True)),
        },
    )
