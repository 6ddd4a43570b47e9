"""A process among those that hold a network in parts: fully sharded data parallelism (``fully_shard``).

Of each parameter, its gradient, the optimizer's moments and the moving averages a process holds one part. The
parameters of a block are gathered where it is computed, on the way forward and on the way back, and its
gradients are averaged and handed out again in parts.
"""

import copy
from typing import TYPE_CHECKING, Any

from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from condiff.divided import blocks_of, is_divided, like
from condiff.stages.ranks_group import Rank

if TYPE_CHECKING:
    from condiff.methods.method import Method


class DividedRank(Rank):
    """Trains what can be divided in parts, and all else as ``Rank`` does."""

    def divided(self, network: nn.Module, key: str) -> nn.Module:
        """The blocks are those that diffusers does not split; what lies in none is gathered at once."""
        names = blocks_of(network, key)
        mesh = DeviceMesh.from_group(distributed.group.WORLD, self.device)  # pyright: ignore[reportArgumentType]
        found = copy.deepcopy(network)
        for module in reversed([*found.modules()]):  # what is inside before what it is inside of
            if type(module).__name__ in names:
                fully_shard(module, mesh=mesh)
        fully_shard(found, mesh=mesh)
        found.register_load_state_dict_pre_hook(_divide)
        return found

    def spread(self, method: "Method") -> None:
        if isinstance(method.trained, FSDPModule):
            self.take_part(method)
        else:
            super().spread(method)


def _divide(network: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Let a network in parts be given whole tensors."""
    for name, held in network.state_dict(prefix=prefix).items():
        if name in state and is_divided(held):
            state[name] = like(state[name], held)
