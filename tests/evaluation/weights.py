"""Random weights with which no part of a network dies out, and pictures that differ for it."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate


def lively(network: nn.Module) -> nn.Module:
    """The network with seeded weights of Kaiming's width, and statistics unlike those it starts with."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                width = (2 / module.weight[0].numel()) ** 0.5
                module.weight.copy_(width * torch.randn(module.weight.shape, generator=generator))
            if isinstance(module, nn.BatchNorm2d):
                for part, low in ((module.weight, 0.5), (module.running_var, 0.5), (module.bias, -0.25)):
                    assert part is not None
                    part.copy_(low + torch.rand(part.shape, generator=generator))
                assert module.running_mean is not None
                module.running_mean.copy_(0.1 * torch.randn(module.running_mean.shape, generator=generator))
    return network


def pictures(n: int, height: int, width: int, channels: int = 3) -> Tensor:
    """[n, channels, height, width] in [-1, 1]: smooth patches with a little grain."""
    generator = torch.Generator().manual_seed(n)
    patches = torch.randn(n, channels, 3, 3, generator=generator)
    smooth = interpolate(patches, (height, width), mode="bilinear", align_corners=True)
    return (smooth + 0.1 * torch.randn(smooth.shape, generator=generator)).clamp(-1, 1)
