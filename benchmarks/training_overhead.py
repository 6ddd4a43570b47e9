"""What the platform costs a training step: ours against a bare loop and against peers, in one run.

    python benchmarks/training_overhead.py [--rounds 12] [--steps 25] [--size digits]

Ours is the training of experiment=cfg_latent as it stands: Lightning, keyed draws, gradient clipping,
moving average, log and progress bar. The bare loop draws with torch's own generator and does the least
that trains the same network with the same optimizer, clipping and moving average. Peers are the loop of
diffusers' examples (accelerate, AdamW and the memory format as they come) with our network and with
diffusers' own of the same widths, and denoising-diffusion-pytorch where it is installed. All take turns, a
few steps each, so that a noisy machine is noisy for all; the table holds medians over the turns.

Sizes: digits; for a GPU, in bfloat16, sd15 (Stable Diffusion 1's U-Net, 16 latents of 64 x 64) and dit_xl2
(28 layers of 16 heads of 72, 64 latents of 32 x 32), of which sd15_toy and dit_toy are small enough for any
machine. MFU is the floating-point operations of the network's matrices, once forward and back, over what
the machine does of them in square products of the same precision; MiB is the most that a turn has taken
beyond what was there before it, such as the weights of all loops.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as run.py

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from training_loops import Chain, Latents, Loop, peers, precise, timed
from training_sizes import ON_GPU, PLACE, SIZES, Size, written

from condiff.autoencoders.space import LatentSpace
from condiff.data.dataset import ShardDataset
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import V
from condiff.diffusion.process import CosineDDPM, CosineVP
from condiff.diffusion.times import Uniform
from condiff.diffusion.weights import Unit
from condiff.methods.diffusion import Diffusion
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training
from condiff.stages.stage import Runtime
from condiff.stages.training import fit

OURS = "condiff"


class Turns:
    """Called at every logged step of ours, when that is nearly done: as many steps of each other loop."""

    def __init__(self, size: int, others: Mapping[str, Loop]) -> None:
        self.size, self.others = size, others
        self.seconds: dict[str, list[float]] = {name: [] for name in (*others, OURS)}
        self.most = dict.fromkeys(self.seconds, 0.0)  # MiB
        self.begin()

    def begin(self) -> None:
        if ON_GPU:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self.there = torch.cuda.memory_allocated()
        self.start = time.perf_counter()

    def end(self, name: str) -> None:
        if ON_GPU:
            torch.cuda.synchronize()
            taken = torch.cuda.max_memory_allocated() - self.there
            self.most[name] = max(self.most[name], taken / 2**20)
        self.seconds[name].append(time.perf_counter() - self.start)

    def __call__(self, *_: object) -> None:
        self.end(OURS)
        for name, other in self.others.items():
            self.begin()
            other(self.size)
            self.end(name)
        self.begin()


def ours(size: Size, rounds: int, steps: int) -> Diffusion:
    process = CosineDDPM() if size.width else CosineVP()  # Stable Diffusion's network is told whole steps
    training = Training(
        steps=rounds * steps,
        batch_size=size.batch,
        clip=1.0,
        ema_decay=0.999,
        log_every=steps,
        precision="bf16-mixed" if size.bf16 else "32-true",
    )
    return Diffusion(
        NetworkDenoiser(size.network(), process, V()),
        size.conditioner(),
        Uniform(),
        Unit(),
        AdamW(lr=2e-3, beta2=0.99, warmup=100, flat=0.5),
        training,
        0,
        drop_condition=0.1,
        space=LatentSpace(torch.zeros(4), torch.ones(4)),
    )


def operations(size: Size, data: ShardDataset) -> int:
    """Floating-point operations of the network in one step, a product and a sum counted as two."""
    net, (x0, told) = size.network().to(PLACE), Latents(size, data)()
    x_t, step, target = Chain()(x0)
    with FlopCounterMode(display=False) as counter, precise(size):
        nn.functional.mse_loss(size.call(net, x_t, step, told).float(), target).backward()
    return counter.get_total_flops()


def peak(size: Size) -> float:
    """Floating-point operations a second in products of square matrices: the best of several."""
    side = 8192 if ON_GPU else 1024
    one = torch.randn(side, side, device=PLACE, dtype=torch.bfloat16 if size.bf16 else torch.float32)
    seconds = min(timed(lambda: _multiply(one), 4) / 4 for _ in range(5))
    return 2 * side**3 / seconds


def _multiply(one: torch.Tensor) -> None:
    torch.mm(one, one)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--size", choices=[*SIZES], default="digits")
    args = parser.parse_args()
    size = SIZES[args.size]
    folder, data = written(size)
    with folder:
        needed, possible = operations(size, data), peak(size)
        turns, out = Turns(args.steps, peers(size, data)), Path(folder.name) / "out"
        out.mkdir()
        runtime = Runtime(accelerator="gpu" if ON_GPU else "cpu", log=turns)
        turns.begin()
        fit("denoiser", ours(size, args.rounds, args.steps), data, runtime, out)
    report(turns, size, args, needed / possible)


def report(turns: Turns, size: Size, args: argparse.Namespace, least: float) -> None:
    """``least`` are the seconds of a step that does nothing but the network at the machine's peak."""
    own, rows = turns.seconds[OURS][1:], {}
    print(f"\n{'loop':<30} {'ms a step':>10} {'images/s':>10} {'MFU':>6} {'MiB':>7} {'condiff / it':>13}")
    for name, times in turns.seconds.items():
        seconds = statistics.median(times[1:]) / args.steps
        ratios = sorted(other / mine for other, mine in zip(times[1:], own, strict=True))
        quarter, ratio = len(ratios) // 4, statistics.median(ratios)
        spread = f"{ratios[quarter]:.2f}..{ratios[-1 - quarter]:.2f}"
        print(
            f"{name:<30} {1000 * seconds:>10.2f} {size.batch / seconds:>10.1f} {least / seconds:>6.2f}"
            f" {turns.most[name]:>7.0f} {ratio:>6.3f} ({spread})"
        )
        rows[name] = {"seconds": seconds, "ratio": ratio, "mfu": least / seconds, "mib": turns.most[name]}
    said = {"benchmark": "training_overhead", "size": args.size, "rounds": len(own), "device": PLACE.type}
    print(
        json.dumps({**said, "ratio": rows["bare loop"]["ratio"], "loops": rows, "torch": torch.__version__})
    )


if __name__ == "__main__":
    main()
