"""Single files of latent diffusion and Stable Diffusion, in their authors' layout; no torch.

One file has every part of a model, each under a prefix, beside the tables of its schedule (Rombach 2022's
code). Only safetensors are read.
"""

from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open

U_NET, AVERAGED = "model.diffusion_model.", "model_ema."
FIRST_STAGE, CONDITION = "first_stage_model.", "cond_stage_model."
_PREFIXES = (U_NET, AVERAGED, FIRST_STAGE, CONDITION)
# Of the schedule and the loss, which a config says here.
_TABLES = {
    *("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "logvar", "lvlb_weights"),
    *("sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod"),
    *("sqrt_recipm1_alphas_cumprod", "posterior_variance", "posterior_log_variance_clipped"),
    *("posterior_mean_coef1", "posterior_mean_coef2", "scale_factor"),
}
_OF_TRAINING = "loss."  # in the file of a first stage alone: what it was trained against
# Of other models' files, by what only they have, with the pipeline of diffusers that reads them.
_OTHERS = {
    f"{CONDITION}model.": ("Stable Diffusion 2", "StableDiffusionPipeline"),
    "conditioner.embedders.": ("Stable Diffusion XL", "StableDiffusionXLPipeline"),
    "text_encoders.": ("Stable Diffusion 3", "StableDiffusion3Pipeline"),
    f"{U_NET}joint_blocks.": ("Stable Diffusion 3", "StableDiffusion3Pipeline"),
}
PICKLED = (".ckpt", ".pt", ".pth", ".bin")
_CONVERT = (
    "python -c \"import torch, safetensors.torch as s; w = torch.load('FILE', 'cpu', weights_only=False);"
    " s.save_file({k: v.contiguous() for k, v in w.get('state_dict', w).items() if torch.is_tensor(v)},"
    " 'NEW.safetensors')\""
)

Shapes = dict[str, tuple[int, ...]]


def named(weights: str) -> Path | None:
    """The file that ``weights`` names, if it is one; ValueError where it may hold code."""
    file = Path(weights).expanduser()
    if not file.is_file():
        return None
    if file.suffix in PICKLED:
        raise ValueError(
            f"{file} is a pickle, which can hold code and is never read; if you trust it, convert it"
            f" elsewhere, with: {converting(file)}"
        )
    return file if file.suffix == ".safetensors" else None


def converting(file: Path) -> str:
    """The command that makes a file of safetensors of a pickle."""
    return _CONVERT.replace("FILE", file.name)


def part(file: Path, prefix: str) -> Shapes:
    """The shapes of one part by name, less its prefix; ValueError where something unknown is besides, as in
    the file of another model.

    A first stage may be the whole file, too, as its authors published it alone.
    """
    shapes = shapes_of(file)
    if prefix == FIRST_STAGE and "encoder.conv_in.weight" in shapes:
        return {name: shape for name, shape in shapes.items() if not name.startswith(_OF_TRAINING)}
    _refuse_others(file, shapes)
    foreign = [name for name in shapes if not is_of_base(name)]
    if foreign:
        raise ValueError(
            f"{file} has {_some(foreign)}, which no single file of latent diffusion or Stable Diffusion 1"
            " has; give one of those, or a folder of diffusers"
        )
    return {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}


def is_of_base(name: str) -> bool:
    """Whether a tensor of this name is of any part of a model, or of its schedule."""
    return name in _TABLES or name.startswith(_PREFIXES)


def prefix_in(file: Path, prefix: str) -> str:
    """The prefix that a part has in a file: none where it is all of it."""
    return "" if prefix == FIRST_STAGE and "encoder.conv_in.weight" in shapes_of(file) else prefix


def shapes_of(file: Path) -> Shapes:
    """Of all tensors of a file; ValueError where it is damaged."""
    try:
        with safe_open(file, framework="numpy") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file} is damaged, or no file of safetensors ({error}); copy it again") from error


def averaged(name: str) -> str:
    """The name of the moving average of a parameter of the U-Net, without its prefix."""
    return AVERAGED + f"diffusion_model.{name}".replace(".", "")


def _refuse_others(file: Path, shapes: Shapes) -> None:
    for prefix, (model, pipeline) in _OTHERS.items():
        if any(name.startswith(prefix) for name in shapes):
            raise ValueError(
                f"{file} is a single file of {model}, and of these only Stable Diffusion 1's and latent"
                " diffusion's are read; convert it to a folder of diffusers, with: python -c \"from diffusers"
                f" import {pipeline} as P; P.from_single_file('{file.name}').save_pretrained('FOLDER')\""
            )


def _some(names: Iterable[str]) -> str:
    first, *others = names
    return f"{first} and {len(others)} more" if others else first
