"""A pipeline of diffusers as a study: what its folder states, in the words of a config; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condiff import hub
from condiff.autoencoders.published import Published, found
from condiff.config.schedulers import choices_of
from condiff.model_folders import CONFIG, read_config
from condiff.networks.pretrained_settings import SCHEDULER

INDEX = "model_index.json"
_KIND = "StableDiffusionPipeline"
_PARTS = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
    "text_encoder": ("CLIPTextModel",),
}
_SCALES = {"AutoencoderTiny": 1.0, "AutoencoderKL": 0.18215}  # in diffusers, where a file leaves it out
_LENGTH = 77  # tokens of CLIP, likewise


@dataclass(frozen=True)
class Study:
    """What a command line would say of it: choices of groups, as GROUP=NAME, and values by their keys."""

    choices: tuple[str, ...]
    values: Mapping[str, Any]


def study_of(given: Path) -> Study | None:
    """The study that draws as the pipeline does that lies in a folder, or by its name in the hub's cache.

    None where there is no pipeline, ValueError in one line where it is one that cannot be drawn from.
    """
    folder = _folder(given)
    if folder is None or not (folder / INDEX).is_file():
        return None
    _refuse_others(read_config(folder / INDEX), given)
    scheduler, first = folder / SCHEDULER, found(str(folder))
    choices, values = choices_of(read_config(scheduler), str(scheduler))
    return Study(
        ("experiment=stable_diffusion", *choices),
        {
            **values,
            "data.size": _side(folder / "unet" / CONFIG) * first.downsampling,
            "autoencoder.network.weights": str(folder),
            "autoencoder.network.scale": _scale(first),
            "conditioner.encoder.length": _length(folder),
        },
    )


def _folder(given: Path) -> Path | None:
    """Of the hub's only what is in its cache: nothing is fetched that was not asked for as a model."""
    if given.is_dir():
        return given.absolute()
    return hub.cached(str(given)) if hub.is_name(str(given)) else None


def _refuse_others(index: Mapping[str, Any], given: Path) -> None:
    kind = index.get("_class_name")
    if kind != _KIND:
        raise ValueError(f"{given} is a {kind}, and of pipelines only a {_KIND} is drawn from; give one")
    for part, allowed in _PARTS.items():
        named = index.get(part)
        own = named[-1] if isinstance(named, list) and named else named
        if own not in allowed:
            raise ValueError(f"{given}: {part} must be {' or '.join(allowed)} in its {INDEX}, got {own}")


def _side(file: Path) -> int:
    """Of a latent of the size that the U-Net was trained at."""
    said = read_config(file).get("sample_size")
    sides = said if isinstance(said, list) and len(said) == 2 else [said, said]
    if type(sides[0]) is not int or sides[0] != sides[1]:
        raise ValueError(
            f"{file}: sample_size must be one integer, or two alike, got {said}; pictures are square"
        )
    return sides[0]


def _scale(first: Published) -> Any:
    shift = first.config.get("shift_factor")
    if shift:
        raise ValueError(
            f"{first.folder / CONFIG}: shift_factor must be null, got {shift}; a {_KIND} has none"
        )
    return first.config.get("scaling_factor", _SCALES.get(first.kind))


def _length(folder: Path) -> int:
    """Tokens of a text, as the pipeline cuts it: those of its tokenizer, where that says a number at all."""
    most = read_config(folder / "text_encoder" / CONFIG).get("max_position_embeddings", _LENGTH)
    own = read_config(folder / "tokenizer" / "tokenizer_config.json").get("model_max_length")
    return min([said for said in (most, own) if type(said) is int], default=_LENGTH)
