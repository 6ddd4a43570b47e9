"""Small models of latent diffusion, and single files of them in their authors' layout."""

import torch
from autoencoders.models import randomized
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vq_model import VQModel
from safetensors.torch import save_file

from condiff.autoencoders.original import original_name
from condiff.networks.ldm import LDM
from condiff.single_file import FIRST_STAGE

SHAPE = {"width": 32, "multipliers": [1, 2, 3], "attention": [2, 4], "token_width": 24, "blocks": 2}
_LEVELS = {"block_out_channels": (32, 64, 64), "layers_per_block": 2}
_PLAIN = {"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3}
_ATTENDING = {
    "down_block_types": ("DownEncoderBlock2D", "AttnDownEncoderBlock2D", "DownEncoderBlock2D"),
    "up_block_types": ("UpDecoderBlock2D", "AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
}
# The attention of diffusers' autoencoders is linear, and that of the authors' a convolution of size 1.
_POINTWISE = (".q.weight", ".k.weight", ".v.weight", ".proj_out.weight")


def u_net(num_labels=0, seed=0, **other) -> LDM:
    torch.manual_seed(seed)
    given = {"channels": 4, "size": 8, "heads": 4, **SHAPE, **other}
    return randomized(LDM(num_labels=num_labels, **given)).eval()


def first_stage(kind="kl", seed=0):
    torch.manual_seed(seed)
    make = {
        "kl": lambda: AutoencoderKL(3, 3, latent_channels=4, **_LEVELS, **_PLAIN),
        "kl_attending": lambda: AutoencoderKL(3, 3, latent_channels=4, **_LEVELS, **_ATTENDING),
        "vq": lambda: VQModel(3, 3, latent_channels=3, num_vq_embeddings=16, **_LEVELS, **_ATTENDING),
    }[kind]
    return randomized(make()).eval()


def of_u_net(network: LDM) -> dict:
    names = network.names()
    return {names[name]: tensor for name, tensor in network.state_dict().items()}


def of_first_stage(model, prefix=FIRST_STAGE) -> dict:
    named = {original_name(name, 3): tensor for name, tensor in model.state_dict().items()}
    return {
        prefix + name: tensor[:, :, None, None] if "attn" in name and name.endswith(_POINTWISE) else tensor
        for name, tensor in named.items()
    }


def saved(path, tensors: dict):
    tables = {"betas": torch.zeros(10), "alphas_cumprod": torch.zeros(10), "scale_factor": torch.ones(())}
    save_file({name: tensor.contiguous() for name, tensor in {**tensors, **tables}.items()}, path)
    return path
