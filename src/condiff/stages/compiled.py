"""Networks compiled in place: their weights keep their names."""

from typing import Any

from torch import nn

from condiff.errors import ConfigError


def compile_whole(network: nn.Module, key: str) -> None:
    """The network, or, where others call its parts and not itself, these. key: of the setting, not needed."""
    is_called = type(network).forward is not nn.Module.forward
    for part in [network] if is_called else network.children():
        part.compile(dynamic=False)


def compile_blocks(network: nn.Module, key: str) -> None:
    """The blocks that diffusers' transformers repeat; ConfigError where there are none."""
    found: list[Any] = [module for module in network.modules() if getattr(module, "_repeated_blocks", None)]
    if not found:
        raise ConfigError(
            f"{key}: {type(network).__name__} names no blocks that it repeats; use whole, or none"
        )
    for module in found:
        module.compile_repeated_blocks(dynamic=False)


def leave(network: nn.Module, key: str) -> None:
    """Not compiled."""


COMPILE = {"none": leave, "whole": compile_whole, "blocks": compile_blocks}
