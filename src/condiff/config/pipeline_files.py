"""What files state that pipelines of diffusers of any kind have, in the words of a config; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condiff.autoencoders.published import Published
from condiff.model_folders import CONFIG, read_config

# In diffusers, where a file leaves it out.
_SCALES = {"AutoencoderTiny": 1.0, "AutoencoderKL": 0.18215, "VQModel": 0.18215}
_LENGTH = 77  # tokens of CLIP, likewise


@dataclass(frozen=True)
class Study:
    """What a command line would say of it: choices of groups, as GROUP=NAME, and values by their keys."""

    choices: tuple[str, ...]
    values: Mapping[str, Any]


def side(file: Path) -> int:
    """Of a latent of the size that a denoiser was trained at; ValueError where it is not square."""
    said = read_config(file).get("sample_size")
    sides = said if isinstance(said, list) and len(said) == 2 else [said, said]
    if type(sides[0]) is not int or sides[0] != sides[1]:
        raise ValueError(
            f"{file}: sample_size must be one integer, or two alike, got {said}; pictures are square"
        )
    return sides[0]


def unshifted(first: Published, kind: str) -> Any:
    """What latents are multiplied by; ValueError where something is taken off them before."""
    shift = first.config.get("shift_factor")
    if shift:
        raise ValueError(
            f"{first.folder / CONFIG}: shift_factor must be null, got {shift}; a {kind} has none"
        )
    return scale(first)


def scale(first: Published) -> Any:
    """What latents are multiplied by."""
    return first.config.get("scaling_factor", _SCALES.get(first.kind))


def length(folder: Path) -> int:
    """Tokens of a text, as the pipeline cuts it: those of its tokenizer, where that says a number at all."""
    most = read_config(folder / "text_encoder" / CONFIG).get("max_position_embeddings", _LENGTH)
    own = read_config(folder / "tokenizer" / "tokenizer_config.json").get("model_max_length")
    return min([said for said in (most, own) if type(said) is int], default=_LENGTH)
