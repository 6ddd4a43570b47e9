"""A denoiser: anything that, given x_t, says which x0 and eps it is made of.

Networks, guided networks and the analytic toys of the tests all have this one shape, so samplers
and guidance never learn what the network predicts or which process it was trained on.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from condiff.diffusion.condition import Condition
from condiff.diffusion.parameterization import Parameterization, Prediction
from condiff.diffusion.process import Marginal, Process
from condiff.diffusion.variational import VariationalBound


class Denoiser(Protocol):
    """What samplers and guidance see."""

    process: Process

    def __call__(self, x_t: Tensor, m: Marginal, cond: Condition) -> Prediction: ...


def fresh(denoiser: Denoiser) -> Denoiser:
    """The same denoiser at the start of a generation; only a guidance with a memory is another one then."""
    start = getattr(denoiser, "fresh", None)
    return denoiser if start is None else start()


class Backbone(Protocol):
    """A network behind one call, whichever library it comes from: x, [B, C, H, W], to as large an output."""

    def __call__(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor: ...


class NetworkDenoiser(nn.Module):
    """A network (a ``Backbone``) together with the process and the target it was trained for.

    One that answers with twice the channels also says how wide a step's noise is, and learns it by ``bound``.
    precision: of the network's products, by autocast; None is as it is called. All else is as precise as x_t.
    """

    def __init__(
        self,
        network: nn.Module,
        process: Process,
        parameterization: Parameterization,
        bound: VariationalBound | None = None,
        precision: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        parameterization.require_readable(process)
        self.network = network
        self.process = process
        self.parameterization = parameterization
        self.bound = bound or VariationalBound()
        self.precision = precision

    def forward(self, x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
        output, spread = self._output(x_t, m, cond)
        read = self.parameterization.read(output, x_t, m)
        return read if spread is None else replace(read, spread=spread)

    def perturbed(self, layers: Sequence[str]) -> "NetworkDenoiser":
        """The same weights with the self-attention of some layers, chosen by name, perturbed."""
        perturb = getattr(self.network, "perturbed", None)
        if perturb is None:
            raise ValueError(
                f"{type(self.network).__name__} has no self-attention that can be perturbed; "
                "use network=unet or network=unet_cross_attention"
            )
        return self._with(perturb(layers), self.precision)

    def precise(self, precision: torch.dtype | None) -> "NetworkDenoiser":
        """The same network working in another precision."""
        return self._with(self.network, precision)

    def loss(self, x0: Tensor, eps: Tensor, t: Tensor, cond: Condition) -> tuple[Tensor, Marginal]:
        """Squared error of the network's own target, averaged over each image: [B]. Not yet weighted.

        Where a variance is learned, plus the variational bound, which trains nothing else: for the target
        Epsilon under the weight Unit that sum is L_hybrid (Nichol 2021, eq. 16).
        """
        x_t, m = self.process.perturb(x0, eps, t)
        output, spread = self._output(x_t, m, cond)
        error = (output - self.parameterization.target(x0, eps, m)).square().flatten(1).mean(1)
        if spread is None:
            return error, m
        predicted = self.parameterization.read(output.detach(), x_t, m).x0
        return error + self.bound(self.process, x0, predicted, spread, t), m

    def _with(self, network: nn.Module, precision: torch.dtype | None) -> "NetworkDenoiser":
        return NetworkDenoiser(network, self.process, self.parameterization, self.bound, precision)

    def _output(self, x_t: Tensor, m: Marginal, cond: Condition) -> tuple[Tensor, Tensor | None]:
        """The network's target and, of one with twice the channels, its spread; both like x_t."""
        kind, precision = x_t.device.type, self.precision
        with nullcontext() if precision is None else torch.autocast(kind, precision):
            output = self.network(self.parameterization.input_scale(m) * x_t, m, cond)
        output = output.to(x_t.dtype)  # whatever precision the network works in
        if output.shape[1] == 2 * x_t.shape[1]:
            target, spread = output.chunk(2, dim=1)
            return target, spread
        return output, None
