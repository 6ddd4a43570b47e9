"""What the platform costs a training step: ours against a bare loop of the same network, in one run.

    python benchmarks/training_overhead.py [--rounds 12] [--steps 25]

Ours is the training of experiment=cfg_latent as it stands: Lightning, keyed draws, gradient clipping,
moving average, log and progress bar. The bare loop draws with torch's own generator and does the least
that trains the same network with the same optimizer, clipping and moving average. The two take turns, a
few steps each, so that a noisy machine is noisy for both; the table holds medians over the turns.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as run.py

import torch
from torch import nn

from condiff.autoencoders.space import LatentSpace
from condiff.conditioners.label import ClassLabel
from condiff.data.dataset import ShardDataset
from condiff.data.shards import ShardWriter, to_npy
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import V
from condiff.diffusion.process import CosineVP
from condiff.diffusion.times import Uniform
from condiff.diffusion.weights import Unit
from condiff.methods.diffusion import Diffusion
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training
from condiff.networks.unet import UNet
from condiff.stages.stage import Runtime
from condiff.stages.training import fit

BATCH = 64
NUM_LATENTS = 4500


def network() -> UNet:
    torch.manual_seed(0)
    return UNet(4, 11, 8, [32, 64], [False, True])


def latents(folder: Path) -> ShardDataset:
    rng = torch.Generator().manual_seed(0)
    moments = torch.cat(
        [torch.randn(NUM_LATENTS, 4, 8, 8, generator=rng), torch.full((NUM_LATENTS, 4, 8, 8), -6.0)], 1
    )
    with ShardWriter(folder, "train") as writer:
        for i, row in enumerate(moments):
            writer.write(f"{i:05d}", {"npy": to_npy(row.numpy()), "cls": str(i % 10).encode()})
    return ShardDataset(folder, "train")


def bare(data: ShardDataset) -> Callable[[int], float]:
    """Seconds that so many steps of the bare loop take."""
    moments = torch.cat([batch["moments"] for batch in data.chunks(500)])
    mean, std = moments[:, :4], (moments[:, 4:] / 2).exp()
    label = data.labels
    assert label is not None
    net = network().net.to(memory_format=torch.channels_last)
    parameters = list(net.parameters())
    optimizer = torch.optim.AdamW(parameters, 2e-3, betas=(0.9, 0.99), fused=True)
    average = [p.detach().clone() for p in parameters]

    def steps(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            at = torch.randint(0, NUM_LATENTS, (BATCH,))
            x0 = mean[at] + std[at] * torch.randn(BATCH, 4, 8, 8)
            eps, t = torch.randn_like(x0), 0.999 * torch.rand(BATCH, 1, 1, 1)
            alpha, sigma = torch.cos(t * torch.pi / 2), torch.sin(t * torch.pi / 2)
            asked = torch.where(torch.rand(BATCH) < 0.1, 10, label[at])
            output = net(alpha * x0 + sigma * eps, 1000 * t.flatten(), class_labels=asked).sample
            loss = nn.functional.mse_loss(output, alpha * eps - sigma * x0)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
            optimizer.step()
            torch._foreach_lerp_(average, [p.detach() for p in parameters], 0.001)
        return time.perf_counter() - start

    return steps


class Turns:
    """Called at every logged step of ours, when that is nearly done: as many steps of the bare loop."""

    def __init__(self, size: int, other: Callable[[int], float]) -> None:
        self.size, self.other = size, other
        self.ours: list[float] = []
        self.bare: list[float] = []
        self.start = time.perf_counter()

    def __call__(self, *_: object) -> None:
        self.ours.append(time.perf_counter() - self.start)
        self.bare.append(self.other(self.size))
        self.start = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=25)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = latents(Path(folder))
        turns = Turns(args.steps, bare(data))
        method = Diffusion(
            NetworkDenoiser(network(), CosineVP(), V()),
            ClassLabel(num_classes=10, with_null=True),
            Uniform(),
            Unit(),
            AdamW(lr=2e-3, beta2=0.99, warmup=100, flat=0.5),
            Training(
                steps=args.rounds * args.steps,
                batch_size=BATCH,
                clip=1.0,
                ema_decay=0.999,
                log_every=args.steps,
            ),
            0,
            drop_condition=0.1,
            space=LatentSpace(torch.zeros(4), torch.ones(4)),
        )
        out = Path(folder) / "out"
        out.mkdir()
        fit("denoiser", method, data, Runtime(accelerator="cpu", log=turns), out)
    report(turns.ours[1:], turns.bare[1:], args.steps)


def report(ours: list[float], bare_loop: list[float], steps: int) -> None:
    ratios = sorted(b / o for o, b in zip(ours, bare_loop, strict=True))
    quarter = len(ratios) // 4
    rows = [("bare loop", statistics.median(bare_loop)), ("condiff", statistics.median(ours))]
    print(f"\n{'loop':<10} {'ms a step':>10} {'images/s':>10}")
    for name, seconds in rows:
        print(f"{name:<10} {1000 * seconds / steps:>10.2f} {BATCH * steps / seconds:>10.0f}")
    ratio = statistics.median(ratios)
    print(
        f"throughput of condiff / bare loop: {ratio:.3f} "
        f"(middle half {ratios[quarter]:.3f}..{ratios[-1 - quarter]:.3f})"
    )
    print(
        json.dumps(
            {
                "benchmark": "training_overhead",
                "ratio": ratio,
                "rounds": len(ratios),
                "torch": torch.__version__,
            }
        )
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
