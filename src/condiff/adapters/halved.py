"""A base in half the memory, while what is trained beside it keeps its precision."""

from typing import Any

import torch
from torch import Tensor, nn


def halve(network: nn.Module) -> None:
    """Keep what asks for no gradient in bfloat16, and let the network compute in it wherever it is called."""
    for weight in network.parameters():
        if weight.is_floating_point() and not weight.requires_grad:
            weight.data = weight.data.to(torch.bfloat16)
    inner = network.forward

    def forward(x: Tensor, *told: Any) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return inner(x, *told)

    network.forward = forward
