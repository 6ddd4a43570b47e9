"""What of a finished network a tuning trains: begun, counted and told; no lightning."""

from collections import Counter

import torch
from torch import nn

from condiff.adapters.controlled import BRANCH
from condiff.adapters.tuning import Tuning, layer_of
from condiff.errors import ConfigError

TUNING = "adapter.tuning"


def begin(tuning: Tuning, network: nn.Module, seed: int, key: str = TUNING) -> nn.Module:
    """The network with only what a tuning trains to be trained, and as good as unchanged.

    key: where the config has the tuning.
    """
    torch.manual_seed(seed)
    try:
        return tuning.begin(network)
    except ValueError as error:
        raise ConfigError(str(error).replace(TUNING, key, 1)) from error


def sizes(network: nn.Module) -> dict[str, int]:
    """The number of parameters in each tensor that is trained."""
    return {name: weight.numel() for name, weight in network.named_parameters() if weight.requires_grad}


def told(network: nn.Module) -> str:
    """What is trained of a network, with counts, in one line: how many layers of each kind.

    The share is of the parameters of the base, without what is put beside them.
    """
    trained = sizes(network)
    base = sum(weight.numel() for name, weight in network.named_parameters() if not _is_added(name))
    kinds = Counter(map(_kind, {*map(layer_of, trained)}))
    what = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    count = sum(trained.values())
    share = f"{count / base:.1%} of the base's {base:,}"
    return f"trains {count:,} parameters ({share}) in {len(trained)} tensors: {what}"


def _kind(layer: str) -> str:
    """The last word of its name, as numbers only tell it from its neighbours."""
    return next((word for word in reversed(layer.split(".")) if not word.isdigit()), layer)


def _is_added(name: str) -> bool:
    """Whether it is of peft's matrices, or of a ControlNet."""
    return any(step.startswith("lora_") or step == BRANCH for step in name.split("."))
