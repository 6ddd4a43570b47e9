"""What each guidance does to samples, on a mixture whose best denoiser is a formula.

    python experiments/guidance_on_mixtures/draw.py

Two classes of two Gaussians each, whose means lie in a plane of images of 8 numbers. The model sees every
Gaussian a little wider than it is (BLUR), as a trained network would; the weaker model wider still (WEAKER).
For the two scales of InstructPix2Pix a second condition says whether the Gaussian asked for lies above or
below the middle. Perturbed attention needs a network: a small U-Net is trained on the mixture first.
Samples are drawn with every rule from the same noise. Writes a picture for each rule, guided samples (class 0
red, class 1 blue) over the true density (grey), and results.csv; then fills the table of the README.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from condiff.diffusion.ancestral import AncestralSmall
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import Denoiser, NetworkDenoiser
from condiff.diffusion.guidance import Chain, ClassifierFree, Guidance, Interval, Models, NoGuidance
from condiff.diffusion.guidance.classifier import Classifier, ClassifierMean
from condiff.diffusion.guidance.conditions import Composition, Negative, TextAndImage
from condiff.diffusion.guidance.corrections import DynamicThreshold, Rescale
from condiff.diffusion.guidance.intervals import LogSNRInterval, TrajectoryInterval
from condiff.diffusion.guidance.plusplus import ClassifierFreePlusPlus
from condiff.diffusion.guidance.projected import AdaptiveProjected
from condiff.diffusion.guidance.references import AutoGuidance, PerturbedAttention
from condiff.diffusion.guidance.schedules import Cosine, Linear, Monotone, Power, ScheduledScale
from condiff.diffusion.guidance.zero_star import ClassifierFreeZeroStar
from condiff.diffusion.parameterization import Prediction, V
from condiff.diffusion.process import CosineVP, Marginal, Process, RectifiedFlow
from condiff.diffusion.randomness import Draws, SampleNoise
from condiff.diffusion.samplers import DDIM, Sampler
from condiff.diffusion.times import Uniform
from condiff.networks.unet import UNet

HERE = Path(__file__).parent
BEGIN, END = "<!-- written by draw.py -->", "<!-- end -->"
SAMPLES, STEPS, SIZE, REACH = 1000, 50, 240, 3.0  # samples, steps, pixels of a picture, its half width
SHAPE = (2, 2, 2)
# Two directions at right angles, each of mean 0 and length 1: the axes of the pictures.
AXES = (
    torch.tensor([[1, -1, 1, -1, 1, -1, 1, -1], [1, 1, -1, -1, 1, 1, -1, -1]], dtype=torch.float64) / 8**0.5
)
MEANS = torch.tensor([[-1.3, 0.9], [-0.5, -0.9], [0.5, 0.9], [1.3, -0.7]], dtype=torch.float64) @ AXES
STDS = torch.tensor([0.35, 0.3, 0.35, 0.3], dtype=torch.float64)
LABELS = torch.tensor([0, 0, 1, 1])
ABOVE = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)  # or below the middle
NULL = 2
TRAINING = 1500  # steps of the network for perturbed attention


@dataclass(frozen=True)
class Plane:
    """E[x0 | x_t, label] of the mixture, [B, 2, 2, 2], of a model that sees it ``blur`` wider."""

    process: Process
    blur: float = 0.0

    def log_joint(self, x_t: Tensor, m: Marginal, label: Tensor, side: Tensor | None = None) -> Tensor:
        alpha, sigma = m.alpha.view(-1, 1), m.sigma.view(-1, 1)
        variance = alpha**2 * (STDS**2 + self.blur**2) + sigma**2  # [B, 4]
        distance = (x_t.flatten(1)[:, None] - alpha[..., None] * MEANS).square().sum(2)
        log_p = -distance / (2 * variance) - MEANS.shape[1] / 2 * variance.log()
        other = (label[:, None] != LABELS) & (label[:, None] != NULL)
        if side is not None:  # 0 asks for neither
            other |= side.flatten(1)[:, :1] * ABOVE < 0
        return log_p.masked_fill(other, -math.inf)

    def __call__(self, x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
        assert cond.label is not None
        alpha, sigma = m.alpha.view(-1, 1), m.sigma.view(-1, 1)
        share = self.log_joint(x_t, m, cond.label, cond.concat).softmax(1)
        wide = STDS**2 + self.blur**2
        shrink = alpha * wide / (alpha**2 * wide + sigma**2)
        rest = x_t.flatten(1)[:, None] - alpha[..., None] * MEANS
        x0 = (share[..., None] * (MEANS + shrink[..., None] * rest)).sum(1).view(x_t.shape)
        return Prediction(x0, (x_t - m.alpha * x0) / m.sigma)

    def log_classifier(self, x_t: Tensor, m: Marginal, cond: Condition) -> Tensor:
        assert cond.label is not None
        free = torch.full_like(cond.label, NULL)
        return self.log_joint(x_t, m, cond.label).logsumexp(1) - self.log_joint(x_t, m, free).logsumexp(1)


def condition(label: Tensor, with_side: bool = False) -> Condition:
    """The class of each sample; ``with_side`` also says, in turn, above and below."""
    side = ABOVE[torch.arange(len(label)) % 2].view(-1, 1, 1, 1) if with_side else None
    neither = None if side is None else torch.zeros_like(side)
    return Condition(
        label=label, concat=side, null=Condition(label=torch.full_like(label, NULL), concat=neither)
    )


def trained() -> NetworkDenoiser:
    """A small U-Net with self-attention, trained on samples of the mixture, a tenth of them without class."""
    torch.manual_seed(0)
    denoiser = NetworkDenoiser(UNet(2, 3, 2, [32], [True]), CosineVP(), V())
    optimizer = torch.optim.AdamW(denoiser.parameters(), 2e-3, fused=True)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, TRAINING)
    for step in range(TRAINING):
        draws = Draws(0, step, 256, slice(None))
        k = (draws.uniform("component") * 4).long()
        x0 = (MEANS[k] + STDS[k, None] * draws.normal("data", 8)).view(-1, *SHAPE).float()
        label = torch.where(draws.uniform("drop") < 0.1, NULL, LABELS[k])
        time = Uniform()(draws, denoiser.process)
        error, _ = denoiser.loss(x0, draws.normal("eps", *SHAPE), time, Condition(label=label))
        optimizer.zero_grad()
        error.mean().backward()
        optimizer.step()
        falling.step()
    return denoiser.eval()


CFG = ClassifierFree(4.0)
FLOW = RectifiedFlow()
# name, what is drawn, the process and sampler it is drawn with
RULES: list[tuple[str, Guidance, Process, Sampler]] = [
    (name, rule, CosineVP(), DDIM(STEPS))
    for name, rule in [
        ("none", NoGuidance()),
        ("cfg_2", ClassifierFree(2.0)),
        ("cfg_4", CFG),
        ("negative", Negative(2.0, label=0)),
        ("composition_not", Composition([-0.5], [0], own_scale=1.5)),
        ("classifier_1", Classifier(1.0)),
        ("classifier_4", Classifier(4.0)),
        ("interval", Interval(CFG, 0.2, 1.5)),
        ("interval_log_snr", LogSNRInterval(CFG, -0.8, 3.2)),
        ("interval_trajectory", TrajectoryInterval(CFG, 0.35, 0.85)),
        ("linear", ScheduledScale(Linear(1.0, 4.0))),
        ("cosine", ScheduledScale(Cosine(1.0, 4.0))),
        ("power", ScheduledScale(Power(1.0, 4.0, power=3.0))),
        ("monotone", ScheduledScale(Monotone([1.0, 1.0, 4.0, 4.0]))),
        ("rescale", Rescale(CFG, 0.7)),
        ("threshold", DynamicThreshold(CFG, percentile=0.9, limit=0.8)),
        ("cfg_pp", ClassifierFreePlusPlus(0.6)),
        ("apg", AdaptiveProjected(4.0, norm=0.5, momentum=-0.5)),
        ("autoguidance", AutoGuidance(2.0)),
        ("text_and_image", TextAndImage(text_scale=4.0, image_scale=1.5)),
        ("chain_interval_rescale", Chain([Interval(CFG, 0.2, 1.5), Rescale(NoGuidance(), 0.7)])),
    ]
] + [
    ("classifier_mean", ClassifierMean(4.0), CosineVP(), AncestralSmall(STEPS)),
    ("cfg_flow", CFG, FLOW, DDIM(STEPS)),
    ("cfg_zero_star", ClassifierFreeZeroStar(4.0), FLOW, DDIM(STEPS)),
]
NETWORK_RULES: list[tuple[str, Guidance]] = [
    ("network", NoGuidance()),
    ("network_pag", PerturbedAttention(4.0, ["down_blocks", "mid", "up_blocks"])),
]
BLUR, WEAKER = 0.15, 0.22


def drawn(rule: Guidance, process: Process, sampler: Sampler) -> tuple[Tensor, Tensor]:
    """Samples, [2 N, 8], and their classes; the same noise for every rule."""
    model = Plane(process, BLUR)
    guided = rule(Models(model, classifier=model.log_classifier, weaker=Plane(process, WEAKER)))
    return walked(guided, sampler, "concat" in getattr(rule, "needs_condition", ()))


def walked(
    guided: Denoiser, sampler: Sampler, with_side: bool, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    label = torch.arange(2).repeat_interleave(SAMPLES)
    rng = SampleNoise(0, range(2 * SAMPLES), dtype=dtype)
    return sampler(guided, rng.normal(*SHAPE), condition(label, with_side), rng).double().flatten(1), label


def measured(x: Tensor, label: Tensor) -> dict[str, float]:
    """Shares and spreads of the samples, against what is known of the mixture."""
    m = CosineVP().at(torch.zeros(len(x), dtype=torch.float64))
    log_p = Plane(CosineVP()).log_joint(x.view(-1, *SHAPE), m, label)
    own = log_p.argmax(1)
    distance = ((x - MEANS[own]) @ AXES.T).norm(dim=1) / STDS[own]
    spread = torch.stack(
        [x[own == k].var(0).mean().sqrt() / STDS[k] for k in range(4) if (own == k).sum() > 9]
    )
    free = Plane(CosineVP()).log_joint(x.view(-1, *SHAPE), m, torch.full_like(label, NULL)).softmax(1)
    right = (free * (label[:, None] == LABELS)).sum(1).mean()
    balance = torch.stack([(own == k).double().sum() / SAMPLES for k in range(4)])
    return {
        "right class": right.item(),
        "spread": spread.mean().item(),
        "outside 3 std": (distance > 3).double().mean().item(),
        "smaller mode": balance.min().item(),
    }


def picture(x: Tensor, label: Tensor) -> Image.Image:
    line = torch.linspace(-REACH, REACH, SIZE, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(line, -line, indexing="xy"), -1).reshape(-1, 2)
    density = (-(grid[:, None] - MEANS @ AXES.T).square().sum(2) / (2 * STDS**2)).exp().sum(1).clamp(max=1)
    grey = (255 - 90 * density).reshape(SIZE, SIZE).numpy().astype(np.uint8)
    image = Image.fromarray(grey).convert("RGB")
    pen = ImageDraw.Draw(image)
    for (px, py), k in zip(((x @ AXES.T / REACH + 1) / 2 * SIZE).tolist(), label.tolist(), strict=True):
        pen.point((px, SIZE - 1 - py), (200, 30, 30) if k == 0 else (30, 60, 200))
    return image


def main() -> None:
    rows, network = [], Models(trained())
    samples = [(name, drawn(rule, process, sampler)) for name, rule, process, sampler in RULES]
    for name, rule in NETWORK_RULES:
        samples.append((name, walked(rule(network), DDIM(STEPS), False, torch.float32)))
    for name, (x, label) in samples:
        picture(x, label).save(HERE / f"{name}.png", optimize=True)
        rows.append({"rule": name, **{key: f"{value:.3f}" for key, value in measured(x, label).items()}})
    with (HERE / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    page = HERE / "README.md"
    text = page.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}")


def table(rows: list[dict[str, str]]) -> str:
    heads = ["picture", *rows[0]]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    lines += [f"| ![{row['rule']}]({row['rule']}.png) | {' | '.join(row.values())} |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
