"""A network that is given its weights: what stands in the place of its training."""

import logging
from pathlib import Path
from typing import Any

from torch import nn

from condiff.errors import ConfigError
from condiff.files import write_json
from condiff.stages.parameters import parameters_of
from condiff.stages.stage import MODEL, Config, Runtime
from condiff.stages.weights import save_weights

log = logging.getLogger(__name__)


def is_given(node: Config) -> bool:
    """Whether the config of a network names a file of weights."""
    return node.get("weights") is not None


def fill(network: Any, node: Config, key: str) -> None:
    """The weights that its config names, if it names some; ConfigError where they do not fit.

    ``key`` is where that config is.
    """
    if not is_given(node):
        return
    try:
        network.fill(key)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def take(network: nn.Module, node: Config, key: str, runtime: Runtime, out: Path) -> None:
    """Leave what a training leaves, as far as there is any: its weights, and neither a log nor an average."""
    if not runtime.ranks.leads:
        return
    fill(network, node, key)
    log.info("%s: used as it is in %s; nothing is trained", key, node["weights"])
    write_json(out / MODEL, parameters_of(network))
    save_weights(out / "weights.safetensors", dict(network.state_dict()))
