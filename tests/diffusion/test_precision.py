"""A denoiser that works in half precision: its products alone do."""

import torch
from torch import Tensor, nn

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.parameterization import Epsilon
from condiff.diffusion.process import LinearDDPM
from condiff.diffusion.randomness import SampleNoise
from condiff.diffusion.samplers import DDIM


class Seen(nn.Module):
    """A product of the width of a picture, in which types it came about."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)
        self.types: list[torch.dtype] = []

    def forward(self, x, m, cond):
        mixed = self.mix(x)
        self.types.append(mixed.dtype)
        return mixed


def test_products_are_in_its_precision_and_what_it_says_is_as_precise_as_it_was_asked():
    torch.manual_seed(0)
    network = Seen()
    denoiser = NetworkDenoiser(network, LinearDDPM(), Epsilon())
    x, noise = torch.randn(2, 1, 4, 4), SampleNoise(0, range(2), torch.device("cpu"))
    found: list[Tensor] = []
    for precision in (None, torch.bfloat16):
        half = denoiser.precise(precision)
        found.append(half(x, half.process.at(torch.full((2,), 0.5)), Condition()).x0)
    assert network.types == [torch.float32, torch.bfloat16]
    assert all(values.dtype == torch.float32 for values in found)
    assert not torch.equal(*found)
    torch.testing.assert_close(*found, atol=0.05, rtol=0.05)
    assert denoiser.precision is None
    assert DDIM(2)(denoiser.precise(torch.float16), x, Condition(), noise).dtype == torch.float32
