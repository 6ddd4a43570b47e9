"""Networks compiled in place: their weights keep their names."""

from collections.abc import Iterator
from contextlib import contextmanager
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
    for module in repeating(network, key):
        module.compile_repeated_blocks(dynamic=False)


def repeating(network: nn.Module, key: str) -> list[Any]:
    """Its parts that name blocks that they repeat; ConfigError where there are none."""
    if found := [module for module in network.modules() if getattr(module, "_repeated_blocks", None)]:
        return found
    raise ConfigError(f"{key}: {type(network).__name__} names no blocks that it repeats; use whole, or none")


def leave(network: nn.Module, key: str) -> None:
    """Not compiled."""


COMPILE = {"none": leave, "whole": compile_whole, "blocks": compile_blocks}


@contextmanager
def plain(network: nn.Module) -> Iterator[None]:
    """Not compiled meanwhile."""
    with _kept(network):
        for module in network.modules():
            module._compiled_call_impl = None
        yield


@contextmanager
def compiled(network: nn.Module, how: str, key: str) -> Iterator[None]:
    """Compiled for as long as it is used here, and after it as it was."""
    with _kept(network):
        COMPILE[how](network, key)
        yield


@contextmanager
def _kept(network: nn.Module) -> Iterator[None]:
    before = {module: module._compiled_call_impl for module in network.modules()}
    try:
        yield
    finally:
        for module, call in before.items():
            module._compiled_call_impl = call
