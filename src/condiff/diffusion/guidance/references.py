"""Guidance away from a worse model that was asked the same."""

from typing import ClassVar

from torch import Tensor

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import Denoiser
from condiff.diffusion.guidance import Guided, Models, Rule
from condiff.diffusion.parameterization import Prediction
from condiff.diffusion.process import Marginal
from condiff.ranges import NonNegative, checked


class AutoGuidance:
    """weaker + scale (model - weaker), both with the same condition (Karras 2024, eq. 3)."""

    needs_null: ClassVar[bool] = False
    needs_stage: ClassVar[str] = "weaker"

    @checked
    def __init__(self, scale: NonNegative) -> None:
        self.scale = scale

    def __call__(self, models: Models) -> Denoiser:
        if models.weaker is None:
            raise ValueError(
                "AutoGuidance needs a weaker model of the same data: give it to Models(denoiser, weaker=...)"
            )
        return Guided(models, self._start)

    def _start(self, models: Models) -> Rule:
        weaker = models.weaker
        assert weaker is not None

        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            asked = models.denoiser(x_t, m, cond)
            return Prediction.affine((self.scale, asked), (1 - self.scale, weaker(x_t, m, cond)))

        return rule


class PerturbedAttention:
    """perturbed + scale (model - perturbed) (Ahn 2024, eq. 7, with s = scale - 1).

    The reference is the network itself where each pixel, in the chosen self-attention ``layers``, attends
    to itself alone. A layer is chosen by a part of its dotted name, such as "mid" or "down_blocks.1".
    """

    needs_null: ClassVar[bool] = False

    @checked
    def __init__(self, scale: NonNegative, layers: list[str]) -> None:
        if not layers:
            raise ValueError("PerturbedAttention.layers must name at least one layer, such as mid")
        self.scale, self.layers = scale, layers

    def __call__(self, models: Models) -> Denoiser:
        return models.denoiser if self.scale == 1 else Guided(models, self._start)

    def _start(self, models: Models) -> Rule:
        perturb = getattr(models.denoiser, "perturbed", None)
        if perturb is None:
            raise ValueError(
                "PerturbedAttention needs the network itself: make it the first link of its chain"
            )
        perturbed = perturb(self.layers)

        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            asked, worse = models.denoiser(x_t, m, cond), perturbed(x_t, m, cond)
            return Prediction.affine((self.scale, asked), (1 - self.scale, worse))

        return rule
