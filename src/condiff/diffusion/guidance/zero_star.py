"""CFG-Zero*."""

from typing import ClassVar

import torch
from torch import Tensor

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import Denoiser
from condiff.diffusion.guidance import Guided, Models, Rule, together
from condiff.diffusion.parameterization import Prediction, Velocity
from condiff.diffusion.process import Marginal
from condiff.ranges import Fraction, NonNegative, checked

ROUNDING = 1e-4  # of zero: a step that starts where it ends moves, on whichever side its time is rounded


class ClassifierFreeZeroStar:
    """s* null + scale (cond - s* null) on a flow's velocity, which starts at zero (Fan 2025, alg. 1).

    s* = <cond, null> / |null|^2, sample by sample, is how much of the null the condition confirms. The
    velocity is zero over the first ``zero`` of the way from noise, by the clock of the process: the
    paper's first 4 % of the steps are the same noise levels here whatever the steps.
    """

    needs_null: ClassVar[bool] = True
    needs_flow: ClassVar[bool] = True

    @checked
    def __init__(self, scale: NonNegative, zero: Fraction = 0.04) -> None:
        self.scale, self.zero = scale, zero

    def __call__(self, models: Models) -> Denoiser:
        process = models.denoiser.process
        if not process.straight:
            raise ValueError(
                f"ClassifierFreeZeroStar needs a flow, and the process is {type(process).__name__}; "
                "use process=rectified_flow, or guidance=cfg"
            )
        return Guided(models, self._start)

    def _start(self, models: Models) -> Rule:
        target, process = Velocity(), models.denoiser.process

        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            asked, free = together(models.denoiser, x_t, m, cond, cond.without())
            v, v_free = (target.target(p.x0, p.eps, m) for p in (asked, free))
            dot = torch.linalg.vecdot(v.flatten(1), v_free.flatten(1))
            best = (dot / (v_free.square().flatten(1).sum(1) + 1e-8)).view(m.sigma.shape)
            guided = best * v_free + self.scale * (v - best * v_free)
            still = 1 - process.noise_left(m.t) < self.zero * (1 - ROUNDING)
            p = target.read(torch.where(still, torch.zeros_like(guided), guided), x_t, m)
            return asked.moved(p.x0, x_t, m)

        return rule
