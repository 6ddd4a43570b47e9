"""Data simple enough that the best denoiser is a formula: a Gaussian mixture with labels."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import X0, Epsilon, Parameterization, Preconditioned, V, Velocity
from condiff.diffusion.process import (
    CosineDDPM,
    CosineVP,
    LinearDDPM,
    Marginal,
    Process,
    RectifiedFlow,
    ScaledLinear,
    VarianceExploding,
)

PROCESSES: list[Process] = [
    CosineVP(),
    LinearDDPM(),
    CosineDDPM(),
    ScaledLinear(),
    VarianceExploding(),
    RectifiedFlow(),
    RectifiedFlow(shift=3.0),
]
PARAMETERIZATIONS: list[Parameterization] = [X0(), Epsilon(), V(), Velocity(), Preconditioned()]


def called(thing: object) -> str:
    """A name for a test case."""
    settings = ",".join(f"{k}={v:g}" for k, v in vars(thing).items() if isinstance(v, float))
    return f"{type(thing).__name__}({settings})"


def readable(process: Process, parameterization: Parameterization) -> bool:
    return not (process.reaches_zero_snr and parameterization.needs_signal)


PAIRS = [(process, p) for process in PROCESSES for p in PARAMETERIZATIONS if readable(process, p)]


@dataclass(frozen=True)
class Mixture:
    """x0 is near one of K images; a component belongs to a label, and the label ``num_classes`` means any."""

    means: Tensor  # [K, C, H, W]
    stds: Tensor  # [K]
    labels: Tensor  # [K] int64
    weights: Tensor  # [K] sums to one

    @property
    def num_classes(self) -> int:
        return int(self.labels.max()) + 1

    def log_joint(self, x_t: Tensor, m: Marginal, label: Tensor) -> Tensor:
        """log p(x_t, component, label), [B, K]; the null label sums over labels."""
        alpha, sigma = m.alpha.view(-1, 1), m.sigma.view(-1, 1)
        variance = alpha**2 * self.stds**2 + sigma**2
        distance = (x_t[:, None] - m.alpha[:, None] * self.means).square().flatten(2).sum(2)
        size = x_t[0].numel()
        log_p = self.weights.log() - distance / (2 * variance) - size / 2 * (2 * math.pi * variance).log()
        asked = (label[:, None] == self.labels) | (label[:, None] == self.num_classes)
        return log_p.masked_fill(~asked, -math.inf)

    def log_density(self, x_t: Tensor, m: Marginal, label: Tensor) -> Tensor:
        """log p(x_t, label), [B]; log p(x_t) for the null label."""
        return self.log_joint(x_t, m, label).logsumexp(1)

    def log_classifier(self, x_t: Tensor, m: Marginal, cond: Condition) -> Tensor:
        """log p(label | x_t), [B]."""
        assert cond.label is not None
        null = torch.full_like(cond.label, self.num_classes)
        return self.log_density(x_t, m, cond.label) - self.log_density(x_t, m, null)

    def x0(self, x_t: Tensor, m: Marginal, label: Tensor) -> Tensor:
        """E[x0 | x_t, label]: what the best denoiser answers."""
        share = self.log_joint(x_t, m, label).softmax(1)  # [B, K]
        alpha, sigma = m.alpha.view(-1, 1), m.sigma.view(-1, 1)
        shrink = alpha * self.stds**2 / (alpha**2 * self.stds**2 + sigma**2)  # [B, K]
        rest = x_t[:, None] - m.alpha[:, None] * self.means
        return (share[:, :, None, None, None] * (self.means + shrink[:, :, None, None, None] * rest)).sum(1)

    def draw(self, n: int, label: int, generator: torch.Generator) -> Tensor:
        """n samples of x0 with a label."""
        weights = self.weights * ((self.labels == label) | (label == self.num_classes))
        k = torch.multinomial(weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, *self.means.shape[1:], generator=generator, dtype=self.means.dtype)
        return self.means[k] + self.stds[k].view(-1, 1, 1, 1) * noise


def gaussians(*means: float, std: float = 0.3) -> Mixture:
    """One pixel, one Gaussian a label."""
    n = len(means)
    mean = torch.tensor(means, dtype=torch.float64).view(n, 1, 1, 1)
    return Mixture(mean, torch.full((n,), std).double(), torch.arange(n), torch.full((n,), 1 / n).double())


def mixture(channels: int = 1, size: int = 1) -> Mixture:
    """Two labels of two components each, none alike."""
    generator = torch.Generator().manual_seed(3)
    spread = 0.3 * torch.randn(4, channels, size, size, generator=generator, dtype=torch.float64)
    centre = torch.tensor([-1.5, 0.0, 0.7, 2.0], dtype=torch.float64).view(-1, 1, 1, 1)
    stds, weights = (
        torch.tensor([0.2, 0.4, 0.3, 0.25], dtype=torch.float64),
        torch.tensor([0.3, 0.2, 0.1, 0.4], dtype=torch.float64),
    )
    return Mixture(centre + spread, stds, torch.tensor([0, 0, 1, 1]), weights)


class IdealNetwork(nn.Module):
    """The optimal network for a mixture, and how many calls and samples it was asked for."""

    def __init__(self, data: Mixture, parameterization: Parameterization) -> None:
        super().__init__()
        self.data = data
        self.parameterization = parameterization
        self.batches: list[int] = []

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        assert cond.label is not None
        self.batches.append(len(x))
        x_t = x / self.parameterization.input_scale(m)
        x0 = self.data.x0(x_t, m, cond.label)
        return self.parameterization.target(x0, (x_t - m.alpha * x0) / m.sigma, m)


def ideal(data: Mixture, process: Process, parameterization: Parameterization) -> NetworkDenoiser:
    return NetworkDenoiser(IdealNetwork(data, parameterization), process, parameterization)


def labelled(data: Mixture, labels: list[int]) -> Condition:
    """A condition whose null is any label."""
    label = torch.tensor(labels)
    return Condition(label=label, null=Condition(label=torch.full_like(label, data.num_classes)))
