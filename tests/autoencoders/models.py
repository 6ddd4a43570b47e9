"""Small autoencoders of diffusers, with weights at random, as it saves them."""

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.autoencoders.vq_model import VQModel

_LEVELS = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 8,
}
MAKES = {
    "kl": lambda channels: AutoencoderKL(channels, channels, **_LEVELS),
    "vq": lambda channels: VQModel(channels, channels, **_LEVELS, num_vq_embeddings=16),
    "tiny": lambda channels: AutoencoderTiny(
        channels,
        channels,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    ),
}
KINDS = tuple(MAKES)


@torch.no_grad()
def randomized(model):
    """None of its parameters is 0 or 1 as it began."""
    for parameter in model.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def saved(folder, kind="kl", channels=3, seed=0):
    """The model, and a folder with it: [B, channels, H, W] to latents of half the size."""
    torch.manual_seed(seed)
    model = randomized(MAKES[kind](channels).eval())
    if kind == "vq":
        model.quantize.embedding.weight.normal_()
    model.save_pretrained(folder)
    return model
