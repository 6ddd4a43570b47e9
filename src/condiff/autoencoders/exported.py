"""An autoencoder as diffusers has it, with the latents of a study in the place of its own."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from condiff.autoencoders.diffusers_models import DiffusersKL
from condiff.autoencoders.space import LatentSpace


@torch.no_grad()
def exported(autoencoder: DiffusersKL, space: LatentSpace) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config and the tensors of an ``AutoencoderKL`` whose latents are normalised ones: of factor 1.

    The map of each channel, x = (z - mean) / std, is part of the convolutions of size 1 that end the encoder
    and begin the decoder, exactly; where there were none there are some now. A log variance is
    ``-2 log(std)`` more, and diffusers holds it to [-30, 20] after that.
    """
    mean, std = (value.flatten().double() for value in (space.mean, space.std))
    state, channels = {**autoencoder.state_dict()}, autoencoder.latent_channels
    rows = torch.cat([1 / std, torch.ones_like(std)])
    weight, bias = _pointwise(state, "quant_conv", 2 * channels)
    state |= _as_pointwise(
        "quant_conv", rows[:, None] * weight, rows * bias - torch.cat([mean / std, 2 * std.log()]), state
    )
    weight, bias = _pointwise(state, "post_quant_conv", channels)
    state |= _as_pointwise("post_quant_conv", weight * std, weight @ mean + bias, state)
    config = {
        **autoencoder.config,
        "use_quant_conv": True,
        "use_post_quant_conv": True,
        "scaling_factor": 1.0,
        "shift_factor": None,
    }
    return config, state


def _pointwise(state: Mapping[str, Tensor], name: str, channels: int) -> tuple[Tensor, Tensor]:
    """Weight, [C, C], and bias, [C], of a convolution of size 1, float64, or the identity's."""
    if f"{name}.weight" not in state:
        return torch.eye(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)
    return state[f"{name}.weight"].double().flatten(1), state[f"{name}.bias"].double()


def _as_pointwise(name: str, weight: Tensor, bias: Tensor, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    like = state["decoder.conv_in.weight"]
    return {f"{name}.weight": weight[:, :, None, None].to(like), f"{name}.bias": bias.to(like)}
