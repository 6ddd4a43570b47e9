"""A base in half the memory, while what is trained beside it keeps its precision."""

from typing import Any

import torch
from torch import Tensor, nn


class _Halved(nn.Module):
    """In front of a network's class: it computes in bfloat16 wherever it is called."""

    def forward(self, x: Tensor, *told: Any) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return super().forward(x, *told)  # pyright: ignore[reportAttributeAccessIssue]


def halve(network: nn.Module) -> None:
    """Keep what asks for no gradient in bfloat16; of a network without values nothing is changed."""
    frozen = [weight for weight in network.parameters() if not weight.requires_grad]
    if any(weight.is_meta for weight in frozen):
        return
    for weight in frozen:
        weight.data = weight.data.to(torch.bfloat16)
    own = type(network)
    network.__class__ = type(own.__name__, (_Halved, own), {})  # which copies of it have, too
