"""CFG++."""

from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import Denoiser
from condiff.diffusion.guidance import Guided, Models, Rule, together
from condiff.diffusion.parameterization import Prediction
from condiff.diffusion.process import Marginal
from condiff.ranges import Fraction, checked


class ClassifierFreePlusPlus:
    """x0 from the guided prediction, and the null's noise to add again (Chung 2024, alg. 2).

    A scale in [0, 1] moves x0 between the null's and the conditional one, and stays on the data's manifold.
    """

    needs_null: ClassVar[bool] = True
    asks: ClassVar[str] = "renoise"  # of the sampler

    @checked
    def __init__(self, scale: Fraction) -> None:
        self.scale = scale

    def __call__(self, models: Models) -> Denoiser:
        return Guided(models, self._start)

    def _start(self, models: Models) -> Rule:
        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            asked, free = together(models.denoiser, x_t, m, cond, cond.without())
            guided = Prediction.affine((self.scale, asked), (1 - self.scale, free))
            return replace(guided, renoise=free.eps)

        return rule
