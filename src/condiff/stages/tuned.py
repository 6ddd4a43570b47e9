"""What of a finished network a tuning trains: begun, counted and told; no lightning."""

from collections import Counter

import torch
from torch import nn

from condiff.adapters.tuning import Tuning
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
    """What is trained of a network, with counts, in one line."""
    trained, total = sizes(network), sum(weight.numel() for weight in network.parameters())
    layers = {name.partition(".lora_")[0].removesuffix(".0") for name in trained}
    kinds = Counter(name.rpartition(".")[2] for name in layers)
    what = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    share, count = sum(trained.values()) / total, sum(trained.values())
    return f"trains {count:,} of {total:,} parameters ({share:.1%}) in {len(trained)} tensors: {what}"
