"""A locked network with a ControlNet beside it."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from condiff.adapters.branch import Branch
from condiff.adapters.tuning import inside
from condiff.diffusion.condition import Condition
from condiff.diffusion.process import Marginal

ALWAYS = (0.0, float("inf"))
ONLY = (0, 1)
BRANCH = "branch"  # in the names of parameters that are none of the base's
# What diffusers' U-Nets add to their skips and to their middle.
_SKIPS, _MIDDLE = "down_block_additional_residuals", "mid_block_additional_residual"


class Controlled(nn.Module):
    """Backbone: a network to whose skips and middle a branch adds what it makes of ``cond.control``.

    The network may be controlled already; what several add there is their sum.

    weights: of what is added, from the first skip to the middle; 1 each in training.
    span: it is added where low < sigma / alpha <= high, with 0 and infinity for no bound.
    place: which of so many hints, whose channels stand one after another, it looks at.
    """

    def __init__(
        self,
        network: nn.Module,
        branch: Branch,
        weights: Sequence[float] | None = None,
        span: tuple[float, float] = ALWAYS,
        place: tuple[int, int] = ONLY,
    ) -> None:
        super().__init__()
        self.network, self.branch, self.span, self.place = network, branch, span, place
        self.weights = [1.0] * branch.num if weights is None else weights

    @property
    def net(self) -> nn.Module:
        """The locked U-Net."""
        return inside(self.network)

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        """x, [B, C, H, W]; the answer is as large as the network's."""
        if cond.control is None:
            raise ValueError("a ControlNet needs a hint for each sample, and got none")
        which, count = self.place
        hint, share = cond.control.chunk(count, 1)[which], self._share(m, cond)

        def control(
            _: nn.Module, args: tuple[Any, ...], told: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            others = [*told.get(_SKIPS, ()), *([told[_MIDDLE]] if _MIDDLE in told else ())]
            plain = {name: value for name, value in told.items() if name not in (_SKIPS, _MIDDLE)}
            found = self.branch(hint, args, plain)
            pairs = zip(self.weights, found, strict=True)
            added = [(weight * share * own).to(own.dtype) for weight, own in pairs]
            total = [one + other for one, other in zip(others, added, strict=True)] if others else added
            return args, {**plain, _SKIPS: total[:-1], _MIDDLE: total[-1]}

        hook = self.net.register_forward_pre_hook(control, with_kwargs=True)
        try:
            return self.network(x, m, cond)
        finally:
            hook.remove()

    def _share(self, m: Marginal, cond: Condition) -> Tensor:
        """How much of the control each sample is given, [B, 1, 1, 1]: none outside the span."""
        share = m.within(*self.span).to(m.sigma)
        return share if cond.control_scale is None else share * cond.control_scale.view_as(share)
