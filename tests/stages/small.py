"""A denoiser small enough to train in a test."""

import torch

from condiff.conditioners.label import ClassLabel
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import V
from condiff.diffusion.process import CosineVP
from condiff.diffusion.times import TimeSampler, Uniform
from condiff.diffusion.weights import Unit
from condiff.methods.diffusion import Diffusion
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training
from condiff.networks.unet import UNet


def method(
    steps: int,
    batch_size: int = 8,
    seed: int = 0,
    dropout: float = 0.0,
    log_every: int = 1,
    times: TimeSampler | None = None,
    accumulate: int = 1,
) -> Diffusion:
    torch.manual_seed(seed)
    net = UNet(1, 11, 8, [8, 16], [False, False], dropout=dropout)
    settings = Training(
        steps, batch_size, clip=1.0, ema_decay=0.9, log_every=log_every, accumulate=accumulate
    )
    return Diffusion(
        NetworkDenoiser(net, CosineVP(), V()),
        ClassLabel(num_classes=10, with_null=True),
        times or Uniform(),
        Unit(),
        AdamW(lr=1e-3, warmup=4, flat=0.5),
        settings,
        seed,
        drop_condition=0.1,
    )
