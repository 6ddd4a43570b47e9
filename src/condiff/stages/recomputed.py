"""Networks of libraries that keep less for their way back: what a layer has made is computed again."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from condiff.callbacks.trainings import settings_of
from condiff.errors import ConfigError

_DIFFUSERS = "enable_gradient_checkpointing"
# of transformers: its newest name first, and the one that it had before
_TRANSFORMERS = ("activation_checkpointing_enable", "gradient_checkpointing_enable")


def recompute(name: str, trained: nn.Module) -> None:
    """Let every network of a library in ``trained`` keep less for the way back (Chen 2016).

    A denoiser, what stands beside it and encoders of text are each a network. ConfigError where there is none
    of them. name: of the stage.
    """
    networks = [*_of_libraries(trained)]
    if not networks:
        key = settings_of(name)
        raise ConfigError(
            f"{key}.recompute: {type(trained).__name__} keeps its activations; leave it out, or take a batch"
            f" in parts with {key}.accumulate"
        )
    for network in networks:
        _begin(network)


def _of_libraries(module: nn.Module) -> Iterator[Any]:
    """The outermost networks that can compute again."""
    if any(hasattr(module, begin) for begin in (_DIFFUSERS, *_TRANSFORMERS)):
        yield module
        return
    for child in module.children():
        yield from _of_libraries(child)


def _begin(network: Any) -> None:
    """Without a way back inside the other, which frozen inputs would not start."""
    if hasattr(network, _DIFFUSERS):
        network.enable_gradient_checkpointing()  # not reentrant by itself
        return
    begin = next(getattr(network, name) for name in _TRANSFORMERS if hasattr(network, name))
    begin({"use_reentrant": False})
    for layer in network.modules():
        if getattr(layer, "gradient_checkpointing", False):
            layer.training = True  # or it would not; the dropout inside it stays as it was
