"""What is done to a guided x0 that has grown too large. Each is put around the guidance it corrects."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import Denoiser
from condiff.diffusion.guidance import Guidance, Guided, Models, Rule
from condiff.diffusion.parameterization import Prediction
from condiff.diffusion.process import Marginal
from condiff.ranges import Fraction, Positive, checked


class Correction(ABC):
    """What the three share: the guided x0 is replaced, and eps follows."""

    inner: Guidance

    def __call__(self, models: Models) -> Denoiser:
        return Guided(models, self._start)

    def _start(self, models: Models) -> Rule:
        guided = self.inner(models)

        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            p = guided(x_t, m, cond)
            x0 = self.corrected(p)
            return p if x0 is None else p.moved(x0, x_t, m)

        return rule

    @abstractmethod
    def corrected(self, p: Prediction) -> Tensor | None:
        """x0, [B, C, H, W], in the place of that of ``p``; None leaves it as it is."""


class Rescale(Correction):
    """The spread of the guided x0 brought back to that of the conditional one (Lin 2023, eq. 14 to 16).

    The standard deviation is that over all channels and pixels of a sample; ``phi`` mixes the corrected
    with the plain. Done on x0, so that it is the same whatever the network predicts.
    """

    needs_null: ClassVar[bool] = False

    @checked
    def __init__(self, inner: Guidance, phi: Fraction) -> None:
        self.inner, self.phi = inner, phi

    def corrected(self, p: Prediction) -> Tensor | None:
        if p.asked is None:
            return None
        had, has = (x0.std((1, 2, 3), keepdim=True) for x0 in (p.asked, p.x0))
        return (self.phi * had / has.clamp(min=1e-12) + 1 - self.phi) * p.x0


class Clip(Correction):
    """x0 kept in [-limit, limit], the range of pixels, and the eps that goes with it (Ho 2020's code).

    What moves x0 further stands around it: a classifier's gradient is added after the cut, as ADM does it.
    """

    needs_null: ClassVar[bool] = False
    needs_pixels: ClassVar[bool] = True

    @checked
    def __init__(self, inner: Guidance, limit: Positive = 1.0) -> None:
        self.inner, self.limit = inner, limit

    def corrected(self, p: Prediction) -> Tensor:
        return p.x0.clamp(-self.limit, self.limit)


class DynamicThreshold(Correction):
    """x0 cut at a percentile of its own size and brought back to [-limit, limit] (Saharia 2022, sec. 2.3).

    Pixels have a range that they must keep to, latents have none.
    """

    needs_null: ClassVar[bool] = False
    needs_pixels: ClassVar[bool] = True

    @checked
    def __init__(self, inner: Guidance, percentile: Fraction = 0.995, limit: Positive = 1.0) -> None:
        self.inner, self.percentile, self.limit = inner, percentile, limit

    def corrected(self, p: Prediction) -> Tensor:
        size = torch.quantile(p.x0.flatten(1).abs(), self.percentile, dim=1)
        most = (size / self.limit).clamp(min=1).view(-1, 1, 1, 1)  # never enlarges
        reach = self.limit * most
        return p.x0.clamp(-reach, reach) / most
