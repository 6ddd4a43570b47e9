"""What guidance costs beside plain sampling, and what our loop costs beside diffusers', in one run.

    python benchmarks/guidance_cost.py [--rounds 7] [--steps 20]

First table: calls of all networks, samples that passed one, and wall time of each rule relative to the plain
model, with the U-Net of experiment=cfg_latent; the weaker model has half its widths, the classifier is half
of it. Second: microseconds a step of our samplers and of diffusers' schedulers on a network that only
multiplies by a half. Turns alternate; medians are shown.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as run.py

import torch
from diffusers.schedulers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from torch import Tensor, nn

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.guidance import Chain, ClassifierFree, Guidance, Interval, Models, NoGuidance
from condiff.diffusion.guidance.classifier import Classifier
from condiff.diffusion.guidance.conditions import Composition, Negative
from condiff.diffusion.guidance.corrections import DynamicThreshold, Rescale
from condiff.diffusion.guidance.intervals import LogSNRInterval, TrajectoryInterval
from condiff.diffusion.guidance.plusplus import ClassifierFreePlusPlus
from condiff.diffusion.guidance.projected import AdaptiveProjected
from condiff.diffusion.guidance.references import AutoGuidance, PerturbedAttention
from condiff.diffusion.guidance.schedules import Linear, ScheduledScale
from condiff.diffusion.multistep import UniPC
from condiff.diffusion.parameterization import Epsilon, V
from condiff.diffusion.process import CosineVP, LinearDDPM, Marginal
from condiff.diffusion.samplers import DDIM, DPMSolverPP2M, Sampler
from condiff.networks.noisy_classifier import HalfUNet
from condiff.networks.unet import UNet

BATCH = 16
RULES: dict[str, Guidance] = {
    "none": NoGuidance(),
    "cfg, scale 1": ClassifierFree(1.0),
    "cfg": ClassifierFree(2.0),
    "negative": Negative(2.0, label=0),
    "composition of 2": Composition([1.0], [0]),
    "interval .2 to 5": Interval(ClassifierFree(2.0), 0.2, 5.0),
    "schedule": ScheduledScale(Linear(1.0, 3.0)),
    "interval of log SNR": LogSNRInterval(ClassifierFree(2.0), -3.2, 3.2),
    "interval of the way": TrajectoryInterval(ClassifierFree(2.0), 0.2, 0.8),
    "rescale": Rescale(ClassifierFree(2.0), 0.7),
    "threshold": DynamicThreshold(ClassifierFree(2.0), 0.995, 1.0),
    "interval, then rescale": Chain([Interval(ClassifierFree(2.0), 0.2, 5.0), Rescale(NoGuidance(), 0.7)]),
    "cfg++": ClassifierFreePlusPlus(0.6),
    "apg": AdaptiveProjected(2.0, norm=2.5, momentum=-0.5),
    "autoguidance": AutoGuidance(2.0),
    "pag": PerturbedAttention(2.0, ["mid"]),
    "classifier": Classifier(1.0),
}


class Counted(nn.Module):
    """A network that counts, on a tally that all of a study's share, what it is asked."""

    def __init__(self, net: nn.Module, tally: list[int]) -> None:
        super().__init__()
        self.net, self.tally = net, tally

    def forward(self, x: Tensor, *asked: object) -> Tensor:
        self.tally[0] += 1
        self.tally[1] += len(x)
        return self.net(x, *asked)

    def perturbed(self, layers: list[str]) -> nn.Module:
        return Counted(self.net.perturbed(layers), self.tally)  # pyright: ignore[reportCallIssue]


def rules(rounds: int, steps: int) -> None:
    torch.manual_seed(0)
    tally = [0, 0]
    sizes = {"widths": [32, 64], "attention": [False, True]}
    network = Counted(UNet(4, 11, 8, **sizes), tally).eval()
    weak = Counted(UNet(4, 11, 8, [16, 32], [False, True]), tally).eval()
    half = HalfUNet(4, 10, 8, **sizes).eval().requires_grad_(False)
    counted = Counted(half, tally)
    process = CosineVP()

    def log_p(x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        assert cond.label is not None
        return counted(x, m).log_softmax(1).gather(1, cond.label[:, None]).squeeze(1)

    models = Models(NetworkDenoiser(network, process, V()), log_p, NetworkDenoiser(weak, process, V()))
    noise, label = torch.randn(BATCH, 4, 8, 8), torch.arange(BATCH) % 10
    cond = Condition(label=label, null=Condition(label=torch.full_like(label, 10)))
    guided = {name: rule(models) for name, rule in RULES.items()}
    sampler, seconds = DDIM(steps), {name: [] for name in RULES}
    counts: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for name, denoiser in guided.items():
            tally[:] = 0, 0
            start = time.perf_counter()
            sampler(denoiser, noise, cond)
            seconds[name].append(time.perf_counter() - start)
            counts[name] = tally[0] / steps, tally[1] / steps / BATCH
    print("| rule | network calls a step | batches a step | time / plain |\n|---|---|---|---|")
    for name, times in seconds.items():
        ratio = statistics.median(t / plain for t, plain in zip(times, seconds["none"], strict=True))
        print(f"| {name} | {counts[name][0]:.2f} | {counts[name][1]:.2f} | {ratio:.2f} |")


class Half(nn.Module):
    """A network that costs next to nothing."""

    def forward(self, x: Tensor, time: object, cond: object) -> Tensor:
        return 0.5 * x


def loops(rounds: int, steps: int) -> None:
    process, noise = LinearDDPM(), torch.randn(BATCH, 4, 8, 8)
    network = Half()
    denoiser = NetworkDenoiser(network, process, Epsilon())
    ours: dict[str, Sampler] = {"ddim": DDIM(steps), "dpmpp_2m": DPMSolverPP2M(steps), "unipc": UniPC(steps)}
    betas = {"beta_schedule": "linear", "timestep_spacing": "trailing"}
    theirs = {
        "ddim": DDIMScheduler(**betas, clip_sample=False),
        "dpmpp_2m": DPMSolverMultistepScheduler(**betas),
        "unipc": UniPCMultistepScheduler(**betas),
    }
    print("\n| solver | ours, us a step | diffusers, us a step | ours / theirs |\n|---|---|---|---|")
    for name, sampler in ours.items():
        scheduler = theirs[name]

        def library(scheduler=scheduler) -> None:
            scheduler.set_timesteps(steps)
            x = noise
            with torch.no_grad():
                for t in scheduler.timesteps:
                    output = network(scheduler.scale_model_input(x, t), t, None)
                    x = scheduler.step(output, t, x).prev_sample

        pairs = [
            (timed(lambda s=sampler: s(denoiser, noise, Condition())), timed(library)) for _ in range(rounds)
        ]
        us, them = (statistics.median(times) * 1e6 / steps for times in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"| {name} | {us:.0f} | {them:.0f} | {ratio:.2f} |")


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    rules(args.rounds, args.steps)
    loops(3 * args.rounds, args.steps)


if __name__ == "__main__":
    main()
