"""What the network is asked to predict, and how its answer is read.

Every target in the literature is a(t) x0 + b(t) eps. With x_t = alpha x0 + sigma eps this is a
2 x 2 linear system, so one solve turns any network output into both x0 and eps, and a new
parameterization is nothing but two numbers.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from condiff.diffusion.process import Marginal, Process
from condiff.ranges import Positive, checked


@dataclass(frozen=True, slots=True)
class Prediction:
    """A denoiser's belief about what x_t is made of: x_t = alpha x0 + sigma eps."""

    x0: Tensor  # [B, C, H, W]
    eps: Tensor  # [B, C, H, W]
    asked: Tensor | None = None  # x0 of the conditional model, where a guidance has moved it
    renoise: Tensor | None = None  # the noise to add again, where it is not eps (CFG++)
    pull: Callable[[Tensor], Tensor] | None = None  # what the variance of a step multiplies, at its mean
    spread: Tensor | None = None  # in [-1, 1], from the least variance of a step to the most (Nichol 2021)

    @staticmethod
    def affine(*terms: tuple[float, "Prediction"]) -> "Prediction":
        """Weighted sum of predictions for one and the same x_t, the conditional model's first.

        The weights must sum to one: only then is the result the same in every parameterization,
        and only then does x_t = alpha x0 + sigma eps still hold. What is no part of that sum, such as
        a learned variance, is the conditional model's.
        """
        weights = [weight for weight, _ in terms]
        if abs(sum(weights) - 1) > 1e-6:
            raise ValueError(f"guidance weights must sum to 1, got {sum(weights):g} from {weights}")
        x0, eps = (w * p.x0 for w, p in terms), (w * p.eps for w, p in terms)
        return terms[0][1]._with(functools.reduce(torch.add, x0), functools.reduce(torch.add, eps))

    def away_from(self, other: "Prediction", scale: float | Tensor) -> "Prediction":
        """other + scale (self - other); a scale of each sample is [B, 1, 1, 1]."""
        return self._with(*(torch.lerp(b, a, scale) for a, b in ((self.x0, other.x0), (self.eps, other.eps))))

    def moved(self, x0: Tensor, x_t: Tensor, m: Marginal) -> "Prediction":
        """Another x0 for the same x_t, and the eps that goes with it."""
        return self._with(x0, (x_t - m.alpha * x0) / m.sigma)

    def split(self, n: int) -> tuple["Prediction", ...]:
        """Undo a batch of n copies."""
        if self.pull is not None:
            raise ValueError("a guidance of a step's mean must be the last link of its chain")
        fields = (self.x0, self.eps, self.asked, self.renoise)
        parts = zip(*(_chunks(field, n) for field in fields), _chunks(self.spread, n), strict=True)
        return tuple(
            Prediction(x0, eps, asked, renoise, None, spread) for x0, eps, asked, renoise, spread in parts
        )

    def where(self, keep: Tensor, other: "Prediction") -> "Prediction":
        """Per sample: this prediction where keep, [B, 1, 1, 1] bool, is true, else the other one."""
        if self.pull is not None or other.pull is not None:
            raise ValueError("a guidance of a step's mean cannot be mixed sample by sample")

        def either(
            a: Tensor | None, b: Tensor | None, without_a: Tensor | float, without_b: Tensor | float
        ) -> Tensor | None:
            if a is None and b is None:
                return None
            return torch.where(keep, without_a if a is None else a, without_b if b is None else b)

        return Prediction(
            torch.where(keep, self.x0, other.x0),
            torch.where(keep, self.eps, other.eps),
            either(self.asked, other.asked, self.x0, other.x0),
            either(self.renoise, other.renoise, self.eps, other.eps),
            None,
            either(self.spread, other.spread, 0.0, 0.0),  # 0 is halfway between its bounds
        )

    def _with(self, x0: Tensor, eps: Tensor) -> "Prediction":
        return replace(self, x0=x0, eps=eps, asked=self.x0 if self.asked is None else self.asked)


def _chunks(field: Tensor | None, n: int) -> Sequence[Tensor | None]:
    return [None] * n if field is None else field.chunk(n)


class Parameterization(ABC):
    """A choice of target a x0 + b eps, and of the scale at which the network sees x_t."""

    needs_signal: ClassVar[bool] = False  # cannot be read where alpha is 0

    @abstractmethod
    def weights(self, m: Marginal) -> tuple[Tensor, Tensor]:
        """a and b, each [B, 1, 1, 1]."""

    def input_scale(self, m: Marginal) -> Tensor | float:
        """c_in of Karras 2022: what x_t is multiplied by before the network sees it."""
        return 1.0

    def target(self, x0: Tensor, eps: Tensor, m: Marginal) -> Tensor:
        a, b = self.weights(m)
        return a * x0 + b * eps

    def determinant(self, m: Marginal) -> Tensor:
        """Of the system that ``read`` solves, [B, 1, 1, 1]."""
        a, b = self.weights(m)
        return m.alpha * b - m.sigma * a

    def read(self, output: Tensor, x_t: Tensor, m: Marginal) -> Prediction:
        """Solve {alpha x0 + sigma eps = x_t, a x0 + b eps = output} for x0 and eps."""
        a, b = self.weights(m)
        det = m.alpha * b - m.sigma * a
        x0 = torch.addcmul(
            b / det * x_t, m.sigma / det, output, value=-1
        )  # four passes over the image, not eight
        return Prediction(x0, torch.addcmul(m.alpha / det * output, a / det, x_t, value=-1))

    def require_readable(self, process: Process) -> None:
        """Refuse a process at some of whose times the output does not say what x0 and eps are.

        The data end itself, where sigma is 0, is left out: no network is asked there.
        """
        u = torch.linspace(0, 1, 1001, dtype=torch.float64)
        t = torch.cat([torch.tensor([process.t_low], dtype=torch.float64), process.clock(u)])
        m = process.at(t[(t >= process.t_low) & (t > process.t_min)])
        a, b = self.weights(m)
        sine = self.determinant(m) / (torch.hypot(m.alpha, m.sigma) * torch.hypot(a, b))
        bad = ~(sine * sine[0].sign() > 1e-6)  # below, float32 keeps no digit of x0
        if bad.any():
            t, alpha, sigma = (float(v[bad][0]) for v in (m.t, m.alpha, m.sigma))
            raise ValueError(
                f"{type(self).__name__} cannot be read back on {type(process).__name__}: at t = {t:g} "
                f"(alpha = {alpha:.2g}, sigma = {sigma:.2g}) its output does not say what x0 is; "
                "predict V or Velocity instead"
            )


class X0(Parameterization):
    """The clean image."""

    def weights(self, m: Marginal) -> tuple[Tensor, Tensor]:
        return torch.ones_like(m.sigma), torch.zeros_like(m.sigma)

    def read(self, output: Tensor, x_t: Tensor, m: Marginal) -> Prediction:
        return Prediction(output, (x_t - m.alpha * output) / m.sigma)


class Epsilon(Parameterization):
    """The noise (Ho 2020, eq. 14)."""

    needs_signal: ClassVar[bool] = True

    def weights(self, m: Marginal) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(m.sigma), torch.ones_like(m.sigma)

    def read(self, output: Tensor, x_t: Tensor, m: Marginal) -> Prediction:
        return Prediction((x_t - m.sigma * output) / m.alpha, output)


class V(Parameterization):
    """v = alpha eps - sigma x0 (Salimans & Ho 2022, app. D)."""

    def weights(self, m: Marginal) -> tuple[Tensor, Tensor]:
        return -m.sigma, m.alpha


class Velocity(Parameterization):
    """dx_t/dt = alpha' x0 + sigma' eps; for rectified flow eps - x0 (Lipman 2022, Liu 2022)."""

    def weights(self, m: Marginal) -> tuple[Tensor, Tensor]:
        return m.d_alpha, m.d_sigma


class Preconditioned(Parameterization):
    """The unit-variance target F of EDM (Karras 2022, table 1), for any alpha.

    F = (x0 - c_skip x_t) / c_out with c_skip = alpha sigma_data^2 c_in^2 and c_out = sigma sigma_data c_in,
    which is c_in (sigma / sigma_data x0 - alpha sigma_data eps): nothing is divided by sigma.
    """

    @checked
    def __init__(self, sigma_data: Positive = 0.5) -> None:
        self.sigma_data = sigma_data

    def input_scale(self, m: Marginal) -> Tensor:
        return (m.alpha**2 * self.sigma_data**2 + m.sigma**2).rsqrt()

    def weights(self, m: Marginal) -> tuple[Tensor, Tensor]:
        c_in = self.input_scale(m)
        return c_in * m.sigma / self.sigma_data, -c_in * m.alpha * self.sigma_data
