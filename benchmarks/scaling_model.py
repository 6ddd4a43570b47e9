"""What data-parallel training on 1 to 256 GPUs should cost, computed and not measured.

    python benchmarks/scaling_model.py [--size sd15] [--batch 16] [--peak 989] [--mfu 0.4] [--nvlink 450]

docs/scaling.md says what the model is and what it leaves out. Operations and parameters are counted on the
network itself, without any memory for it; all else are assumptions, given above: TFLOP/s of a GPU's dense
bfloat16 products, the share of them that a step on one GPU reaches, and GB/s in one direction of a GPU's
links to others of its node and to those of other nodes.
"""

import argparse
import json
from dataclasses import dataclass, replace

import torch
from torch.utils.flop_counter import FlopCounterMode
from training_sizes import SIZES, TOKENS, Size

COUNTS = (1, 8, 16, 32, 64, 128, 256)
LATENCY = 2e-5  # seconds of a message between two GPUs, all software included
BUCKETS = 140  # a gradient is sent in parts of 25 MB, as DDP does by default: of 3.4 GB
GRADIENT = 4  # bytes of a parameter: under autocast they are float32
STATE = 4 + 4 + 8 + 4  # bytes of a parameter: itself, its gradient, two moments, its moving average


@dataclass(frozen=True)
class Machine:
    flops: float  # a second that a step on one GPU reaches
    nvlink: float  # bytes a second, in one direction
    network: float
    node: int  # GPUs


@dataclass(frozen=True)
class Work:
    """Of a sample, forward and back, and of the network."""

    operations: float
    parameters: int


def counted(size: Size) -> Work:
    """On the network itself, with tensors that have no memory."""
    with torch.device("meta"):
        net = size.make()
        x, step = torch.randn(size.batch, 4, size.side, size.side), torch.zeros(size.batch)
        told = torch.randn(size.batch, TOKENS, size.width) if size.width else step.long()
        with FlopCounterMode(display=False) as counter:
            size.call(net, x, step, told).sum().backward()
    return Work(counter.get_total_flops() / size.batch, sum(p.numel() for p in net.parameters()))


def all_reduce(num_bytes: float, count: int, machine: Machine) -> float:
    """Seconds of a ring, in which each GPU sends 2 (n - 1) / n of the bytes, by its slowest link."""
    if count == 1:
        return 0.0
    link = machine.nvlink if count <= machine.node else machine.network
    return 2 * (count - 1) / count * num_bytes / link + 2 * (count - 1) * LATENCY


def step(work: Work, batch: int, parts: int, count: int, machine: Machine) -> tuple[float, float]:
    """Seconds of computing, and of a step: gradients travel on the way back of its last part and after."""
    computing, sent = batch * work.operations / machine.flops, GRADIENT * work.parameters
    travel, back = all_reduce(sent, count, machine), 2 / 3 * computing / parts
    return computing, computing - back + max(back, travel) + travel / BUCKETS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", choices=[*SIZES], default="sd15")
    parser.add_argument("--peak", type=float, default=989.0)
    parser.add_argument("--mfu", type=float, default=0.4)
    parser.add_argument("--nvlink", type=float, default=450.0)
    parser.add_argument("--network", type=float, default=50.0)
    parser.add_argument("--node", type=int, default=8)
    parser.add_argument("--batch", type=int, help="of a GPU and a step; by default that of the size")
    parser.add_argument("--parts", type=int, default=1, help="that a step takes its batch in")
    args = parser.parse_args()
    size = SIZES[args.size]
    work, size = counted(size), replace(size, batch=args.batch or size.batch)
    machine = Machine(args.peak * args.mfu * 1e12, args.nvlink * 1e9, args.network * 1e9, args.node)
    print(
        f"{args.size}: {work.parameters / 1e6:.1f} M parameters, {work.operations / 1e12:.2f} TFLOP a sample,"
        f" {size.batch} a GPU, gradient {GRADIENT * work.parameters / 1e9:.2f} GB, parameters and all that is"
        f" kept for them {STATE * work.parameters / 1e9:.1f} GB"
    )
    print(
        "\n| GPUs | computing, ms | all-reduce, ms | step, ms | images/s | share |\n|---|---|---|---|---|---|"
    )
    rows = [_row(size, work, args.parts, count, machine) for count in COUNTS]
    print(json.dumps({"benchmark": "scaling_model", **vars(args), "efficiency": dict(rows)}))


def _row(size: Size, work: Work, parts: int, count: int, machine: Machine) -> tuple[int, float]:
    computing, whole = step(work, size.batch, parts, count, machine)
    travel = all_reduce(GRADIENT * work.parameters, count, machine)
    rate, share = size.batch * count / whole, computing / whole
    times = f"{1000 * computing:.1f} | {1000 * travel:.1f} | {1000 * whole:.1f}"
    print(f"| {count} | {times} | {rate:.0f} | {share:.3f} |")
    return count, round(share, 4)


if __name__ == "__main__":
    main()
