"""What one busy process beside a training costs it, with and without what run.py sets for OpenMP.

    python benchmarks/busy_neighbour.py [--rounds 8] [--steps 6]

A training step of the digits' network is timed in turns with a neighbour that computes without end and with
that neighbour stopped. The table holds medians over the turns; 1 would be a neighbour that costs nothing.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time

import torch

from condiff.diffusion.condition import Condition
from condiff.diffusion.process import CosineVP
from condiff.networks.unet import UNet

POLICIES = {
    "run.py (1,000 spins)": {"GOMP_SPINCOUNT": "1000"},
    "passive waiting": {"OMP_WAIT_POLICY": "PASSIVE"},
    "OpenMP's default": {},
}


def measure(rounds: int, steps: int) -> float:
    """Speed with the neighbour / speed without."""
    net = UNet(4, 11, 8, [32, 64], [False, True]).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, fused=True)
    x, m = torch.randn(64, 4, 8, 8), CosineVP().at(torch.full((64,), 0.5))
    cond = Condition(label=torch.arange(64) % 10)

    def turn() -> float:
        start = time.perf_counter()
        for _ in range(steps):
            optimizer.zero_grad()
            net(x, m, cond).square().mean().backward()
            optimizer.step()
        return time.perf_counter() - start

    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    times: dict[int, list[float]] = {signal.SIGSTOP: [], signal.SIGCONT: []}
    try:
        for _ in range(rounds + 1):
            for signum, seconds in times.items():
                neighbour.send_signal(signum)
                seconds.append(turn())
    finally:
        neighbour.kill()
        neighbour.wait()
    alone, beside = (statistics.median(times[signum][1:]) for signum in (signal.SIGSTOP, signal.SIGCONT))
    return alone / beside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(measure(args.rounds, args.steps))
        return
    kept = {}
    for name, policy in POLICIES.items():
        clean = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
        env = clean | policy
        command = [sys.executable, __file__, "--measure", f"--rounds={args.rounds}", f"--steps={args.steps}"]
        kept[name] = float(
            subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
        )
        print(f"{name:<26} keeps {kept[name]:.2f} of its speed beside one busy process")
    print(json.dumps({"benchmark": "busy_neighbour", "kept": kept, "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
