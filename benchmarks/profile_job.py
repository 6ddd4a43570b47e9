"""Where the time of the main job goes: a training step and a sampling step of cfg_latent, in parts.

    python benchmarks/profile_job.py [--steps 100] [--trace FILE.json]

On one thread, in the time that it computes, which a busy machine does not stretch. A part is what its
name says without the parts inside it. The third table is torch.profiler's of the same training, by
operator; --trace keeps what it saw, to be looked at in Perfetto or chrome://tracing.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as run.py

import torch
from torch import Tensor, nn
from torch.profiler import profile
from training_overhead import ours
from training_sizes import SIZES, written

from condiff.callbacks.checkpoint import Checkpoints
from condiff.callbacks.ema import Ema
from condiff.callbacks.noise_levels import LossByNoise
from condiff.callbacks.steps import FiniteSteps, Progress
from condiff.conditioners.label import ClassLabel
from condiff.data.dataset import ShardDataset
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.guidance import ClassifierFree, Models
from condiff.diffusion.parameterization import V
from condiff.diffusion.process import CosineVP, Marginal
from condiff.diffusion.randomness import Draws
from condiff.diffusion.samplers import DDIM
from condiff.networks.unet import UNet
from condiff.stages.stage import Runtime
from condiff.stages.training import _GlobalSeed, fit

BATCH, MOST = 250, 16  # pictures that are drawn at a time; operators that are shown
TRAINING: list[tuple[Any, str, str]] = [
    (UNet, "forward", "network, forward"),
    (Tensor, "backward", "network, back"),
    (torch.optim.AdamW, "step", "optimizer"),
    (nn.utils, "get_total_norm", "clipping"),
    (nn.utils, "clip_grads_with_norm_", "clipping"),
    (Ema, "update", "moving average"),
    (Draws, "normal", "draws"),
    (Draws, "uniform", "draws"),
    (CosineVP, "at", "coefficients"),
    (ClassLabel, "dropped", "condition"),
    (ShardDataset, "__getitems__", "batch"),
    (Progress, "on_train_batch_end", "log and bar"),
    (LossByNoise, "on_train_batch_end", "log and bar"),
    (FiniteSteps, "on_before_optimizer_step", "norm is finite"),
    (_GlobalSeed, "on_train_batch_start", "seeds of what a network draws"),
    (Checkpoints, "on_train_batch_end", "checkpoints"),
]
SAMPLING: list[tuple[Any, str, str]] = [
    (UNet, "forward", "network, forward"),
    (Marginal, "tile", "times of both halves"),
    (Condition, "cat", "conditions of both halves"),
    (V, "read", "reading the answer"),
    (DDIM, "step", "the solver's step"),
]


class Parts:
    """Seconds by part, each without the parts inside it."""

    def __init__(self, parts: list[tuple[Any, str, str]], rest: str) -> None:
        self.parts, self.rest = parts, rest
        self.clear()

    def clear(self) -> None:
        self.seconds = dict.fromkeys([*(name for _, _, name in self.parts), self.rest], 0.0)
        self.open, self.since, self.called = [self.rest], time.thread_time(), {self.rest}

    @contextmanager
    def counted(self) -> Iterator[None]:
        before = [getattr(owner, function) for owner, function, _ in self.parts]
        for (owner, function, name), old in zip(self.parts, before, strict=True):
            setattr(owner, function, self._timed(old, name))
        try:
            yield
        finally:
            for (owner, function, _), old in zip(self.parts, before, strict=True):
                setattr(owner, function, old)

    def _timed(self, old: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._pass()
            self.open.append(name)
            self.called.add(name)
            try:
                return old(*args, **kwargs)
            finally:
                self._pass()
                self.open.pop()

        return call

    def _pass(self) -> None:
        """The time since the last change goes to the part that is open."""
        now = time.thread_time()
        self.seconds[self.open[-1]] += now - self.since
        self.since = now

    def shown(self, title: str, steps: int) -> dict[str, float]:
        """Milliseconds a step; RuntimeError where a part is none any more."""
        self._pass()
        if missed := self.seconds.keys() - self.called:
            raise RuntimeError(
                f"never called, so that another part has its time: {', '.join(sorted(missed))}"
            )
        whole = sum(self.seconds.values())
        print(f"\n{title:<42} {'ms':>8} {'share':>6}")
        for name, seconds in self.seconds.items():
            print(f"{name:<42} {1000 * seconds / steps:>8.3f} {seconds / whole:>6.3f}")
        return {name: round(1000 * seconds / steps, 4) for name, seconds in self.seconds.items()}


def training(steps: int) -> dict[str, float]:
    size = SIZES["digits"]
    folder, data = written(size)
    parts = Parts(TRAINING, "the rest: Lightning's loop and hooks")
    found: list[dict[str, float]] = []

    def log(name: str, step: int, row: dict[str, float]) -> None:
        if step == 2 * steps:
            found.append(parts.shown("a training step", steps))
        else:  # that was to warm up
            parts.seconds = dict.fromkeys(parts.seconds, 0.0)

    with folder, parts.counted():
        out = Path(folder.name) / "out"
        out.mkdir()
        fit("denoiser", ours(size, 2, steps), data, Runtime(accelerator="cpu", log=log), out)
    return found[0]


def operators(steps: int, trace: str | None) -> dict[str, float]:
    """Milliseconds a step of each of the operators that take most, without those that they call."""
    size, steps = SIZES["digits"], max(steps // 4, 5)
    folder, data = written(size)
    seen = profile()

    def log(name: str, step: int, row: dict[str, float]) -> None:
        seen.start() if step == steps else seen.stop()  # what was before was to warm up

    with folder:
        out = Path(folder.name) / "out"
        out.mkdir()
        fit("denoiser", ours(size, 2, steps), data, Runtime(accelerator="cpu", log=log), out)
    if trace is not None:
        seen.export_chrome_trace(trace)
    every = sorted(seen.key_averages(), key=lambda event: -event.self_cpu_time_total)
    whole = sum(event.self_cpu_time_total for event in every)
    print(f"\n{'a training step by operators':<42} {'ms':>8} {'share':>6} {'calls':>6}")
    for event in every[:MOST]:
        took, calls = event.self_cpu_time_total, event.count / steps
        print(f"{event.key[:42]:<42} {took / 1000 / steps:>8.3f} {took / whole:>6.3f} {calls:>6.1f}")
    return {event.key: round(event.self_cpu_time_total / 1000 / steps, 4) for event in every[:MOST]}


def sampling(steps: int) -> dict[str, float]:
    denoiser = NetworkDenoiser(SIZES["digits"].network().eval(), CosineVP(), V())
    label = torch.arange(BATCH) % 10
    cond = Condition(label=label, null=Condition(label=torch.full_like(label, 10)))
    guided, noise = ClassifierFree(2.0)(Models(denoiser)), torch.randn(BATCH, 4, 8, 8)
    DDIM(2)(guided, noise, cond)
    parts = Parts(SAMPLING, "the rest: the walk and the guidance")
    with parts.counted():
        parts.clear()
        DDIM(steps)(guided, noise, cond)
        return parts.shown(f"a sampling step of {BATCH}", steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--trace", help="a file for what torch.profiler saw")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {"training": training(args.steps), "sampling": sampling(args.steps)}
    found["operators"] = operators(args.steps, args.trace)
    print(json.dumps({"benchmark": "profile_job", "milliseconds": found, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
