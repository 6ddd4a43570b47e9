"""Forward processes: how much signal and how much noise is left at time t.

Every process here is x_t = alpha(t) x0 + sigma(t) eps with eps ~ N(0, I), so
q(x_t | x0) = N(alpha x0, sigma^2 I). Time runs from ``t_min`` (data) to ``t_max`` (noise).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from condiff.ranges import Count, Positive, Probability, Range, checked

PURE_NOISE = 1e30  # stands for sigma / alpha where no signal is left, which is infinite
InsideUnit = Annotated[float, Range(low=0, high=1, over=True, below=True)]


@dataclass(frozen=True, slots=True)
class Marginal:
    """q(x_t | x0) at a batch of times, shaped [B, 1, 1, 1] so that it broadcasts over images."""

    t: Tensor
    alpha: Tensor  # signal left
    sigma: Tensor  # noise added
    d_alpha: Tensor  # d alpha / dt
    d_sigma: Tensor  # d sigma / dt
    level: float | None = None  # sigma / alpha where the whole batch shares one time, known to the host

    @property
    def log_snr(self) -> Tensor:
        """log(alpha^2 / sigma^2)."""
        return 2 * (self.alpha.log() - self.sigma.log())

    @property
    def angle(self) -> Tensor:
        """Noise on a scale from 0 (data) to 1 (no signal), whatever the process: the time of CosineVP."""
        return torch.atan2(self.sigma, self.alpha) * (2 / math.pi)

    def within(self, low: float, high: float) -> Tensor:
        """Where low < sigma / alpha <= high, [B, 1, 1, 1]; 0 is below every level, PURE_NOISE above each."""
        above, under = self.sigma > low * self.alpha, self.sigma <= high * self.alpha
        return (above | (low == 0)) & (under | (high >= PURE_NOISE))  # without signal both sides are 0 or nan

    def tile(self, n: int) -> "Marginal":
        """The same times n times over, for a batch made of n copies."""
        return self._each(lambda v: v.repeat(n, 1, 1, 1))

    def row(self, i: int, n: int, level: float) -> "Marginal":
        """The time of row i for a whole batch of n, with its noise level."""
        return replace(self._each(lambda v: v[i].expand(n, 1, 1, 1)), level=level)

    def to(self, like: Tensor) -> "Marginal":
        """The same values with the type and device of another tensor."""
        return self._each(lambda v: v.to(like))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Marginal":
        tensors = (self.t, self.alpha, self.sigma, self.d_alpha, self.d_sigma)
        return Marginal(*map(change, tensors), level=self.level)


class Process(ABC):
    """A choice of alpha(t) and sigma(t)."""

    reaches_zero_snr: ClassVar[bool] = False  # no signal at all is left at t_max
    straight: ClassVar[bool] = False  # x_t runs on lines from data to noise, at the velocity eps - x0
    t_min: float = 0.0  # data: where sampling ends
    t_max: float = 1.0  # noise: where sampling starts
    t_low: float = 0.0  # no network is trained or asked below this; a last step goes from here to t_min

    @abstractmethod
    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """alpha, sigma and their time derivatives, each of the shape of t, float64."""

    @abstractmethod
    def time_of(self, level: Tensor) -> Tensor:
        """The time at which sigma / alpha has this value."""

    def clock(self, u: Tensor) -> Tensor:
        """The time at the fraction u in [0, 1] of the way from data to noise, as the process paces it."""
        return self.t_min + (self.t_max - self.t_min) * u

    def noise_left(self, t: Tensor) -> Tensor:
        """The u of ``clock`` at a time: the share of a trajectory that is still to go."""
        return (t - self.t_min) / (self.t_max - self.t_min)

    def training_time(self, u: Tensor) -> Tensor:
        """The time trained on for a draw u in (0, 1]."""
        return self.clock(u)

    def at(self, t: Tensor) -> Marginal:
        """Marginals at times t, [B], computed in float64 and given in the type of t."""
        t = t.view(-1, 1, 1, 1)
        return Marginal(t.double(), *self.coefficients(t.double())).to(t)

    def perturb(self, x0: Tensor, eps: Tensor, t: Tensor) -> tuple[Tensor, Marginal]:
        """x_t, [B, C, H, W], made of x0 and its noise; also the marginals it was drawn from."""
        m = self.at(t).to(x0)
        return m.alpha * x0 + m.sigma * eps, m

    def prior(self, noise: Tensor) -> Tensor:
        """Turn unit noise into the state at t_max that sampling starts from."""
        return float(self.at(torch.tensor([self.t_max], dtype=torch.float64)).sigma) * noise


class CosineVP(Process):
    """Variance-preserving cosine schedule (Nichol & Dhariwal 2021, eq. 17, with s = 0)."""

    @checked
    def __init__(self, t_max: InsideUnit = 0.999) -> None:
        self.t_max = t_max  # log SNR -12.9 at .999; at t = 1 eps could not be turned into x0

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        w = math.pi / 2
        alpha, sigma = torch.cos(w * t), torch.sin(w * t)
        return alpha, sigma, -w * sigma, w * alpha

    def time_of(self, level: Tensor) -> Tensor:
        return torch.atan(level) * (2 / math.pi)


class RectifiedFlow(Process):
    """Straight lines from data to noise (Liu 2022); t is sigma.

    ``shift`` s paces time as s u / (1 + (s - 1) u) (Esser 2024, eq. 23), in training and on uniform grids;
    the lines, and so the velocity eps - x0, stay what they are.
    """

    reaches_zero_snr: ClassVar[bool] = True
    straight: ClassVar[bool] = True

    @checked
    def __init__(self, shift: Positive = 1.0) -> None:
        self.shift = shift

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return 1 - t, t, -torch.ones_like(t), torch.ones_like(t)

    def time_of(self, level: Tensor) -> Tensor:
        return 1 / (1 + 1 / level)  # 0 and infinity give 0 and 1

    def clock(self, u: Tensor) -> Tensor:
        return self.shift * u / (1 + (self.shift - 1) * u)

    def noise_left(self, t: Tensor) -> Tensor:
        return t / (self.shift - (self.shift - 1) * t)


class VarianceExploding(Process):
    """Noise is added, the signal is never shrunk; t is sigma itself (Karras 2022, table 1).

    Time is paced geometrically from sigma_min to sigma_max (Song 2021, app. C); sampling ends at sigma = 0.
    """

    @checked
    def __init__(self, sigma_min: Positive = 0.002, sigma_max: Positive = 80.0) -> None:
        if not sigma_min < sigma_max:
            raise ValueError(
                f"VarianceExploding.sigma_min must be below sigma_max, got {sigma_min:g} and {sigma_max:g}"
            )
        self.t_low, self.t_max = sigma_min, sigma_max

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return torch.ones_like(t), t, torch.zeros_like(t), torch.ones_like(t)

    def time_of(self, level: Tensor) -> Tensor:
        return level

    def clock(self, u: Tensor) -> Tensor:
        return self.t_low * (self.t_max / self.t_low) ** u

    def noise_left(self, t: Tensor) -> Tensor:
        return (t / self.t_low).log() / math.log(self.t_max / self.t_low)


class DiscreteVP(Process):
    """A variance-preserving chain of N steps with given betas (Ho 2020, eq. 4).

    At t = n / N, n = 0..N, alpha^2 is the chain's alpha_bar_n; in between log alpha_bar is linear in t.
    A network is trained on n = 1..N only.
    """

    def __init__(self, betas: Tensor) -> None:
        steps = torch.log1p(-betas.double())
        self.log_alpha_bar = torch.cat([steps.new_zeros(1), steps.cumsum(0)])  # [N + 1]
        self.num_steps = len(betas)
        self.t_low = 1 / self.num_steps

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        table = self.log_alpha_bar.to(t.device)
        place = t * self.num_steps
        n = place.floor().clamp(0, self.num_steps - 1).long()
        slope = table[n + 1] - table[n]
        log_alpha_bar = table[n] + (place - n) * slope
        alpha, sigma = (log_alpha_bar / 2).exp(), (-torch.expm1(log_alpha_bar)).sqrt()
        d_alpha = alpha * slope * self.num_steps / 2
        return alpha, sigma, d_alpha, -alpha * d_alpha / sigma  # infinite where sigma is 0

    def time_of(self, level: Tensor) -> Tensor:
        table = self.log_alpha_bar.to(level.device)
        log_alpha_bar = -torch.log1p(level.double() ** 2)
        n = (torch.searchsorted(-table, -log_alpha_bar, right=True) - 1).clamp(0, self.num_steps - 1)
        return ((n + (log_alpha_bar - table[n]) / (table[n + 1] - table[n])) / self.num_steps).to(level.dtype)

    def prior(self, noise: Tensor) -> Tensor:
        """p(x_T) = N(0, I) (Ho 2020, sec. 2), whose variance x_T has, too, where that of x0 is 1.

        Of sigma at t_max alone, the scaled linear betas have 0.9977.
        """
        return noise

    def training_time(self, u: Tensor) -> Tensor:
        return (u * self.num_steps).ceil().clamp(1, self.num_steps) / self.num_steps


class LinearDDPM(DiscreteVP):
    """Betas on a line (Ho 2020, sec. 4)."""

    @checked
    def __init__(
        self, beta_start: InsideUnit = 1e-4, beta_end: InsideUnit = 0.02, num_steps: Count = 1000
    ) -> None:
        super().__init__(torch.linspace(beta_start, beta_end, num_steps, dtype=torch.float64))


class ScaledLinear(DiscreteVP):
    """Square roots of the betas on a line: the schedule of latent diffusion (Rombach 2022)."""

    @checked
    def __init__(
        self, beta_start: InsideUnit = 0.00085, beta_end: InsideUnit = 0.012, num_steps: Count = 1000
    ) -> None:
        roots = torch.linspace(math.sqrt(beta_start), math.sqrt(beta_end), num_steps, dtype=torch.float64)
        super().__init__(roots**2)


class CosineDDPM(DiscreteVP):
    """The cosine schedule as a chain of ``num_steps`` (Nichol & Dhariwal 2021, eq. 17).

    alpha_bar is the squared cosine of an angle that begins at ``offset``; betas are cut at 0.999.
    """

    @checked
    def __init__(self, offset: Probability = 0.008, num_steps: Count = 1000) -> None:
        n = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
        alpha_bar = torch.cos((n + offset) / (1 + offset) * math.pi / 2) ** 2
        super().__init__((1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999))
