"""Weights into a network: every one of them, and no other."""

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)
_COUNTER = "num_batches_tracked"  # of a BatchNorm; old files have none, and nothing depends on it


def load_strictly(network: Network, weights: Mapping[str, Tensor]) -> Network:
    """The network with these weights; ValueError where names or shapes are not its own."""
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith(_COUNTER)}
    given = {name: tensor for name, tensor in weights.items() if not name.endswith(_COUNTER)}
    wrong = sorted(own.keys() ^ given.keys())
    wrong += [name for name in own.keys() & given.keys() if own[name].shape != given[name].shape]
    if wrong:
        raise ValueError(f"these are no weights of {type(network).__name__}: {wrong[0]} does not fit")
    network.load_state_dict(given, strict=False)
    return network


def load_by_position(network: Network, weights: Mapping[str, Tensor]) -> Network:
    """The same for weights whose names are another program's, in the order of the network's own."""
    names = list(network.state_dict())
    if len(names) != len(weights):
        raise ValueError(f"{type(network).__name__} has {len(names)} tensors, the weights {len(weights)}")
    return load_strictly(network, dict(zip(names, weights.values(), strict=True)))
