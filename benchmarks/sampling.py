"""What sampling with classifier-free guidance costs: ours against diffusers' pipelines, in one run.

    python benchmarks/sampling.py [--rounds 7] [--steps 50] [--batch 16] [--size digits] [--compile]

Both walk the same network with DDIM and ask for the condition and for none in one batch. The loop of the
pipelines is theirs without what comes before and after: inputs doubled, scaled by the scheduler, the answer
split and put together, the scheduler's step, a bar. Sizes are those of training_overhead.py. Turns
alternate; the table holds medians, and how many network calls a second either has made.
"""

import argparse
import json
import os
import statistics
from collections.abc import Callable
from typing import Any, cast

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as run.py

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor
from tqdm import tqdm
from training_loops import timed
from training_sizes import PLACE, SIZES, Size

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.guidance import ClassifierFree, Models
from condiff.diffusion.parameterization import Epsilon
from condiff.diffusion.process import LinearDDPM
from condiff.diffusion.samplers import DDIM

SCALE = 2.0


def ours(
    size: Size, net: Any, noise: Tensor, told: tuple[Tensor, Tensor], steps: int
) -> Callable[[], Tensor]:
    denoiser = NetworkDenoiser(net, LinearDDPM(), Epsilon())
    asked, free = (Condition(**{"tokens" if size.width else "label": part}) for part in told)
    cond = Condition(label=asked.label, tokens=asked.tokens, null=free)
    guided, sampler = ClassifierFree(SCALE)(Models(denoiser)), DDIM(steps)

    def draw() -> Tensor:
        with tqdm(total=steps, disable=True) as shown, precise(size):
            return sampler(guided, noise, cond, None, lambda _: cast(None, shown.update()))

    return draw


def theirs(
    size: Size, net: Any, noise: Tensor, told: tuple[Tensor, Tensor], steps: int
) -> Callable[[], Tensor]:
    scheduler = cast(Any, DDIMScheduler(timestep_spacing="trailing", clip_sample=False))
    both = torch.cat(told[::-1])

    @torch.no_grad()
    def draw() -> Tensor:
        scheduler.set_timesteps(steps, device=PLACE)
        x = noise * scheduler.init_noise_sigma
        with tqdm(total=steps, disable=True) as shown, precise(size):
            for t in scheduler.timesteps:
                twice = scheduler.scale_model_input(torch.cat([x] * 2), t)
                free, asked = size.call(net, twice, t, both).chunk(2)
                x = scheduler.step(free + SCALE * (asked - free), t, x, return_dict=False)[0]
                shown.update()
        return x

    return draw


def precise(size: Size) -> Any:
    return torch.autocast(PLACE.type, torch.bfloat16, enabled=size.bf16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", choices=[*SIZES], default="digits")
    parser.add_argument("--compile", action="store_true", help="the network of both")
    args = parser.parse_args()
    size = SIZES[args.size]
    net = cast(Any, size.network().to(PLACE).eval().requires_grad_(False))
    if args.compile:
        net.net.compile()
    noise, known = torch.randn(args.batch, 4, size.side, size.side, device=PLACE), size.told()
    told = known[: args.batch], known[-1:].expand(args.batch, *known.shape[1:])
    draws = {
        "diffusers' loop": theirs(size, net, noise, told, args.steps),
        "condiff": ours(size, net, noise, told, args.steps),
    }
    seconds = {name: [] for name in draws}
    for _ in range(args.rounds + 1):  # the first is to warm up
        for name, draw in draws.items():
            seconds[name].append(timed(lambda draw=draw: cast(None, draw()), 1))
    report({name: times[1:] for name, times in seconds.items()}, args)


def report(seconds: dict[str, list[float]], args: argparse.Namespace) -> None:
    print(f"\n{'loop':<18} {'s':>8} {'images/s':>10} {'calls/s':>9}")
    for name, times in seconds.items():
        took = statistics.median(times)
        print(f"{name:<18} {took:>8.3f} {args.batch / took:>10.2f} {args.steps / took:>9.1f}")
    pairs = zip(seconds["diffusers' loop"], seconds["condiff"], strict=True)
    ratio = statistics.median(other / own for other, own in pairs)
    print(f"throughput of condiff / diffusers' loop: {ratio:.3f}")
    said = {"benchmark": "sampling", "ratio": ratio, "device": PLACE.type, "torch": torch.__version__}
    print(json.dumps({**said, **vars(args)}))


if __name__ == "__main__":
    main()
