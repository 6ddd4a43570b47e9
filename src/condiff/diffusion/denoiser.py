"""A denoiser: anything that, given x_t, says which x0 and eps it is made of.

Networks, guided networks and the analytic toys of the tests all have this one shape, so samplers
and guidance never learn what the network predicts or which process it was trained on.
"""

from typing import Protocol

from torch import Tensor, nn

from condiff.diffusion.condition import Condition
from condiff.diffusion.parameterization import Parameterization, Prediction
from condiff.diffusion.process import Marginal, Process


class Denoiser(Protocol):
    """What samplers and guidance see."""

    process: Process

    def __call__(self, x_t: Tensor, m: Marginal, cond: Condition) -> Prediction: ...


class Backbone(Protocol):
    """A network behind one call, whichever library it comes from: x, [B, C, H, W], to as large an output."""

    def __call__(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor: ...


class NetworkDenoiser(nn.Module):
    """A network (a ``Backbone``) together with the process and the target it was trained for."""

    def __init__(self, network: nn.Module, process: Process, parameterization: Parameterization) -> None:
        super().__init__()
        parameterization.require_readable(process)
        self.network = network
        self.process = process
        self.parameterization = parameterization

    def forward(self, x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
        return self.parameterization.read(self._output(x_t, m, cond), x_t, m)

    def loss(self, x0: Tensor, eps: Tensor, t: Tensor, cond: Condition) -> tuple[Tensor, Marginal]:
        """Squared error of the network's own target, averaged over each image: [B]. Not yet weighted."""
        x_t, m = self.process.perturb(x0, eps, t)
        error = self._output(x_t, m, cond) - self.parameterization.target(x0, eps, m)
        return error.square().flatten(1).mean(1), m

    def _output(self, x_t: Tensor, m: Marginal, cond: Condition) -> Tensor:
        output = self.network(self.parameterization.input_scale(m) * x_t, m, cond)
        return output.to(x_t.dtype)  # whatever precision the network works in
