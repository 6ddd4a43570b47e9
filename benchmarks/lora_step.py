"""What a step of a LoRA on Stable Diffusion 1's U-Net costs: ours against a bare loop, in one run.

    python benchmarks/lora_step.py [--rounds 8] [--steps 5] [--batch 4] [--frozen bfloat16] [--recompute]
    python benchmarks/lora_step.py --small                           # a tiny U-Net, for a CPU

Ours is the training of experiment=lora_sd15, in bfloat16 where there is a GPU: Lightning, keyed draws,
captions found in their cache and dropped, clipping, log and progress bar. The bare loop is as diffusers'
program: its U-Net with an adapter of peft, its scheduler's noise, latents and encoded captions in memory,
AdamW and clipping. Weights are random, which costs the same. The two take turns, a few steps each; the table
holds medians over the turns, and the most memory that a turn has taken beyond what was there before.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from peft import LoraConfig
from torch import nn

from condiff.adapters.low_rank import LowRank
from condiff.autoencoders.space import LatentSpace
from condiff.conditioners.encoders import TextEncoder
from condiff.conditioners.encodings import Encoding
from condiff.conditioners.text import Text
from condiff.data.dataset import ShardDataset
from condiff.data.npy import to_npy
from condiff.data.shards import ShardWriter
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import Epsilon
from condiff.diffusion.process import ScaledLinear
from condiff.diffusion.times import Uniform
from condiff.diffusion.weights import Unit
from condiff.files import write_json
from condiff.methods.adaptation import Adaptation
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training
from condiff.networks.pretrained import Pretrained
from condiff.stages.stage import Runtime
from condiff.stages.training import fit

NAMES = ["to_q", "to_k", "to_v", "to_out.0"]
SCALE, RATE, RANK, LENGTH = 0.18215, 1e-4, 4, 77
NUM = 64  # pictures
ON_GPU = torch.cuda.is_available()
PLACE = torch.device("cuda" if ON_GPU else "cpu")


class Made(TextEncoder):
    """Random tokens for each caption."""

    length = LENGTH

    def __init__(self, width: int) -> None:
        self._width = width

    @property
    def width(self) -> int:
        return self._width

    def __call__(self, texts: Sequence[str], place: torch.device | str = "cpu") -> list[Encoding]:
        return [Encoding(torch.randn(LENGTH, self.width), torch.randn(self.width)) for _ in texts]

    def num_cut(self, texts: Sequence[str]) -> int:
        return 0


def shape(small: bool) -> tuple[dict[str, object], int, int]:
    """The settings of a U-Net, the side of a latent and the width of a token."""
    if small:
        own = {"block_out_channels": [32, 64, 64, 64], "norm_num_groups": 8, "attention_head_dim": 4}
        return {**own, "cross_attention_dim": 64, "sample_size": 16}, 16, 64
    return {"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64}, 64, 768


def latents(folder: Path, side: int) -> ShardDataset:
    rng = torch.Generator().manual_seed(0)
    with ShardWriter(folder, "train") as writer:
        for i in range(NUM):
            moments = torch.randn(8, side, side, generator=rng)
            writer.write(f"{i:05d}", {"npy": to_npy(moments.numpy()), "txt": f"picture {i}".encode()})
    return ShardDataset(folder, "train")


class Bare:
    """Seconds that so many steps of the bare loop take, and the bytes that they take for a while."""

    def __init__(self, settings: dict[str, object], side: int, width: int, args: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.args, self.scheduler = args, DDPMScheduler(beta_schedule="scaled_linear", beta_end=0.012)
        self.net = cast(Any, UNet2DConditionModel)(**settings).requires_grad_(False)
        config = LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=NAMES)
        if args.frozen == "bfloat16":
            self.net.to(torch.bfloat16)
        self.net.add_adapter(config)
        self.net.to(PLACE).train()
        if args.recompute:
            self.net.enable_gradient_checkpointing()
        self.trained = [p for p in self.net.parameters() if p.requires_grad]
        for weight in self.trained:
            weight.data = weight.data.float()
        self.optimizer = torch.optim.AdamW(self.trained, RATE, fused=True)
        self.moments = torch.randn(NUM, 8, side, side, device=PLACE)
        self.tokens = torch.randn(NUM, LENGTH, width, device=PLACE)

    def __call__(self, count: int) -> tuple[float, int]:
        return timed(lambda: [self.step() for _ in range(count)])

    def step(self) -> None:
        size = self.args.batch
        at = torch.randint(0, NUM, (size,), device=PLACE)
        mean, log_variance = self.moments[at].chunk(2, dim=1)
        x0 = (mean + (log_variance / 2).exp() * torch.randn_like(mean)) * SCALE
        noise, t = torch.randn_like(x0), torch.randint(0, 1000, (size,), device=PLACE)
        x_t = cast(Any, self.scheduler).add_noise(x0, noise, t)
        with torch.autocast(PLACE.type, torch.bfloat16, enabled=ON_GPU or self.args.frozen == "bfloat16"):
            output = self.net(x_t, t, self.tokens[at]).sample
        loss = nn.functional.mse_loss(output.float(), noise)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()


def timed(work: object) -> tuple[float, int]:
    assert callable(work)
    began = Turn()
    work()
    return began.taken()


class Turn:
    """From now on, the seconds and the bytes on a GPU that are taken."""

    def __init__(self) -> None:
        if ON_GPU:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self.there = torch.cuda.memory_allocated()
        self.start = time.perf_counter()

    def taken(self) -> tuple[float, int]:
        if not ON_GPU:
            return time.perf_counter() - self.start, 0
        torch.cuda.synchronize()
        return time.perf_counter() - self.start, torch.cuda.max_memory_allocated() - self.there


class Turns:
    """Called at every logged step of ours: then as many steps of the bare loop."""

    def __init__(self, size: int, other: Bare) -> None:
        self.size, self.other = size, other
        self.ours: list[tuple[float, int]] = []
        self.bare: list[tuple[float, int]] = []
        self.turn = Turn()

    def __call__(self, *_: object) -> None:
        self.ours.append(self.turn.taken())
        self.bare.append(self.other(self.size))
        self.turn = Turn()


def ours(
    settings: dict[str, object], side: int, width: int, args: argparse.Namespace, folder: Path
) -> Adaptation:
    write_json(folder / "config.json", {"_class_name": "UNet2DConditionModel", **settings})
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(b"")  # never read
    torch.manual_seed(0)
    network = Pretrained(4, 0, side, str(folder), text_width=width)
    LowRank(["linear"], NAMES, RANK, RANK, init="gaussian", frozen=args.frozen).begin(network)
    return Adaptation(
        NetworkDenoiser(network, ScaledLinear(), Epsilon()),
        Text(Made(width), num_classes=1, with_null=True, half=False),
        Uniform(),
        Unit(),
        AdamW(lr=RATE),
        Training(
            steps=args.rounds * args.steps,
            batch_size=args.batch,
            clip=1.0,
            log_every=args.steps,
            precision="bf16-mixed" if ON_GPU else "32-true",
            recompute=args.recompute,
        ),
        0,
        drop_condition=0.1,
        space=LatentSpace(torch.zeros(4), torch.ones(4) / SCALE),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--frozen", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    settings, side, width = shape(args.small)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, method = latents(folder, side), ours(settings, side, width, args, folder)
        turns, out = Turns(args.steps, Bare(settings, side, width, args)), folder / "out"
        out.mkdir()
        fit("adapter", method, data, Runtime("gpu" if ON_GPU else "cpu", log=turns), out)
    report(turns.ours[1:], turns.bare[1:], args)


def report(own: list[tuple[float, int]], bare: list[tuple[float, int]], args: argparse.Namespace) -> None:
    print(f"\n{'loop':<10} {'ms a step':>10} {'images/s':>10} {'MiB':>8}")
    for name, turns in (("bare loop", bare), ("condiff", own)):
        seconds = statistics.median(time for time, _ in turns) / args.steps
        most = max(bytes_ for _, bytes_ in turns) / 2**20
        print(f"{name:<10} {1000 * seconds:>10.1f} {args.batch / seconds:>10.1f} {most:>8.0f}")
    ratio = statistics.median(b / o for (o, _), (b, _) in zip(own, bare, strict=True))
    print(f"throughput of condiff / bare loop: {ratio:.3f}")
    said = {"benchmark": "lora_step", "ratio": ratio, "rounds": len(own), "torch": torch.__version__}
    print(json.dumps({**said, **vars(args), "device": PLACE.type}))


if __name__ == "__main__":
    main()
