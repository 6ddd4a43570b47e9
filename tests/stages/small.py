"""What is small enough for a test: a denoiser to train, and a judge of digits."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from condiff.conditioners.label import ClassLabel
from condiff.data.digits import Digits
from condiff.data.prepare import prepare
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import V
from condiff.diffusion.process import CosineVP
from condiff.diffusion.times import TimeSampler, Uniform
from condiff.diffusion.weights import Unit
from condiff.evaluation.judge import Judge
from condiff.methods.diffusion import Diffusion
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training
from condiff.networks.unet import CrossAttentionUNet, UNet
from condiff.stages.stage import Artifact


def method(
    steps: int,
    batch_size: int = 8,
    seed: int = 0,
    dropout: float = 0.0,
    log_every: int = 1,
    times: TimeSampler | None = None,
    accumulate: int = 1,
    attends: bool = False,
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true",
    compile: Literal["none", "whole"] = "none",
    widths: Sequence[int] = (8, 16),
    attention: bool = False,
) -> Diffusion:
    torch.manual_seed(seed)
    net = UNet(1, 11, 8, [*widths], [False, attention], dropout=dropout)
    if attends:
        net = CrossAttentionUNet(1, 11, 8, [8, 16], [False, True], head_width=8)
    settings = Training(
        *(steps, batch_size, 1.0, 0.9, precision, log_every), accumulate=accumulate, compile=compile
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


def digits(folder: Path, key: str = "data") -> Artifact:
    """Digits of 8 pixels a side in an empty folder, as their stage leaves them."""
    prepare(Digits(size=8), folder)
    (folder / "manifest.json").write_text("{}")
    return Artifact(key, folder, {})


def seen(folder: Path) -> dict[str, Tensor]:
    """What processes have each written of what they saw."""
    return {key: v for file in sorted(folder.glob("seen*")) for key, v in load_file(file).items()}


def judged(folder: Path) -> dict[str, Artifact]:
    """Digits of 8 pixels a side, and a judge who was never trained, as stages leave them."""
    data, judge = folder / "data", folder / "judge"
    for made in (data, judge):
        made.mkdir()
    network = {"_target_": "condiff.evaluation.judge.Judge", "width": 8, "feature_dim": 6}
    manifest = {"config": {"judge": {"network": network}}}
    (judge / "manifest.json").write_text(json.dumps(manifest))
    torch.manual_seed(1)
    weights = Judge(channels=1, num_classes=10, size=8, width=8, feature_dim=6).state_dict()
    save_file(weights, judge / "weights.safetensors")
    # keys that no other test has: a process remembers the judge and the pictures by them
    return {
        "data": digits(data, f"data {folder}"),
        "judge": Artifact(f"judge {folder}", judge, manifest),
    }
