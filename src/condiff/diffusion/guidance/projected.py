"""Adaptive projected guidance."""

from typing import ClassVar

import torch
from torch import Tensor

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import Denoiser
from condiff.diffusion.guidance import Guided, Models, Rule, together
from condiff.diffusion.parameterization import Prediction
from condiff.diffusion.process import Marginal
from condiff.ranges import NonNegative, Positive, Real, checked


class AdaptiveProjected:
    """cond + (scale - 1) d, where d is cond - null in x0, tamed (Sadat 2024, alg. 1).

    In this order: ``momentum`` times the d of the step before is added, its norm over a sample is held to
    ``norm``, and only ``parallel`` of its part along cond is kept, which is the part that saturates.
    The momentum starts at nothing in every generation.
    """

    needs_null: ClassVar[bool] = True

    @checked
    def __init__(
        self,
        scale: NonNegative,
        norm: Positive | None = None,
        momentum: Real = 0.0,
        parallel: Real = 0.0,
    ) -> None:
        self.scale, self.norm, self.momentum, self.parallel = scale, norm, momentum, parallel

    def __call__(self, models: Models) -> Denoiser:
        return models.denoiser if self.scale == 1 else Guided(models, self._start)

    def _start(self, models: Models) -> Rule:
        last: list[Tensor] = []

        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            asked, free = together(models.denoiser, x_t, m, cond, cond.without())
            d = asked.x0 - free.x0
            if last and self.momentum:
                d = d + self.momentum * last[0]
            last[:] = [d]
            return asked.moved(asked.x0 + (self.scale - 1) * self._tamed(d, asked.x0), x_t, m)

        return rule

    def _tamed(self, d: Tensor, x0: Tensor) -> Tensor:
        every = (1, 2, 3)
        if self.norm is not None:
            length = torch.linalg.vector_norm(d, dim=every, keepdim=True)
            d = d * (self.norm / length.clamp(min=self.norm))
        along = torch.linalg.vecdot(d.flatten(1), x0.flatten(1)) / x0.square().flatten(1).sum(1).clamp(
            min=1e-24
        )
        return d - (1 - self.parallel) * along.view(-1, 1, 1, 1) * x0
