"""Small first stages with everything in them, to be trained in tests."""

import torch

from condiff.autoencoders.codebook import AveragedCodebook, LearnedCodebook
from condiff.autoencoders.compact import CompactKL, CompactVQ
from condiff.methods.adversary import PatchAdversary
from condiff.methods.autoencoder import AutoencoderKL
from condiff.methods.autoencoder_vq import AutoencoderVQ
from condiff.methods.first_stage import FirstStage
from condiff.methods.optimizers import AdamW
from condiff.methods.reconstruction import LearnedReconstruction
from condiff.methods.settings import Training

KINDS = ("kl", "vq_averaged", "vq_learned")


def adversary(**changes) -> PatchAdversary:
    given = {
        "optimizer": AdamW(lr=1e-3, beta1=0.5, warmup=2),
        "width": 16,
        "halvings": 1,
        "start": 2,
        **changes,
    }
    return PatchAdversary(**given)


def first_stage(
    kind: str = "kl", against: PatchAdversary | None = None, restart_until: float = 1.0, **training
) -> FirstStage:
    """Of 8x8 grey pictures, against an ``adversary`` unless another is given."""
    torch.manual_seed(0)
    settings = Training(
        **{"steps": 6, "batch_size": 7, "clip": 1.0, "ema_decay": 0.9, "log_every": 1, **training}
    )
    common = LearnedReconstruction(), AdamW(lr=5e-3), settings, 0
    against = against or adversary()
    if kind == "kl":
        return AutoencoderKL(CompactKL(1, width=16, latent_channels=2), *common, 1e-2, against)
    codebook = (AveragedCodebook if kind == "vq_averaged" else LearnedCodebook)(16, 2, 0.5)
    autoencoder = CompactVQ(1, codebook, width=16, latent_channels=2)
    return AutoencoderVQ(autoencoder, *common, restart=0.9, restart_until=restart_until, adversary=against)
