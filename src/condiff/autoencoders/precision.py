"""Numbers that half precision would spoil."""

import torch
from torch import Tensor


def at_least_single(x: Tensor) -> Tensor:
    """x in float32, or as it is where it is finer."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
