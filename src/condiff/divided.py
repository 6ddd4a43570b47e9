"""Tensors that processes may hold in parts, as ``torch.distributed.fsdp`` leaves those of a network."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from condiff.errors import ConfigError

_BLOCKS = "_no_split_modules"  # of a network of diffusers


def is_divided(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; of one that is held in parts, which each process must ask for, on the host."""
    return tensor.full_tensor().cpu() if is_divided(tensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def gathered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All of each tensor, in the order of their names, which is the same in each process."""
    return {name: whole(tensors[name]) for name in sorted(tensors)}


def like(value: Tensor, held: Tensor) -> Tensor:
    """A copy of a whole tensor where another one of its shape is: of it, what this process holds of that one.

    It lies in memory as that one does: a fused optimizer pairs its moments with the weights by their order.
    """
    return torch.empty_like(held, dtype=value.dtype).copy_(_part(value, held))


def _part(value: Tensor, held: Any) -> Tensor:
    if not is_divided(held) or is_divided(value):
        return value
    from torch.distributed.tensor import distribute_tensor  # noqa: PLC0415  what is not divided needs none

    value = value.to(held.device)
    return distribute_tensor(value, held.device_mesh, held.placements, src_data_rank=None)


def blocks_of(network: nn.Module, key: str) -> set[str]:
    """The classes of its blocks, each of which is gathered at once; ConfigError where it names none.

    key: where the config has the settings of its training.
    """
    names = {name for module in network.modules() for name in getattr(module, _BLOCKS, None) or ()}
    if not names:
        raise ConfigError(
            f"runtime.strategy: fsdp gathers a network block by block, and {key} trains"
            f" {type(network).__name__}, which names none; use ddp"
        )
    return names
