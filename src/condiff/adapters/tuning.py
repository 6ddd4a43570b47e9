"""Which parameters of a finished network are trained for something new, and what is left of it in a file."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar, cast

import torch
from torch import Tensor, nn


class Tuning(ABC):
    """A way to change a network, or to add to it; its file says by how much, and for which base."""

    needs_control: ClassVar[bool] = False  # whether it reads a hint that comes with each picture
    with_text: ClassVar[bool] = False  # whether it can train encoders of text, and be beside one that does
    by_parts: ClassVar[bool] = False  # whether one file holds what it trains of several networks

    @abstractmethod
    def begin(self, network: nn.Module) -> nn.Module:
        """The network to train: only what is trained asks for a gradient, and nothing is changed yet."""

    def take_up(self, network: nn.Module, last: Mapping[str, Tensor]) -> None:  # noqa: B027  most copy nothing
        """Let what a network that has ``begun`` copies of its base be of these weights of it.

        last: those at the end of its training, of which the base itself has an average.
        """

    @abstractmethod
    def check(self, network: nn.Module) -> None:
        """ValueError, under the config's key, where there is nothing in such a network to be trained."""

    @abstractmethod
    def write(self, network: nn.Module, path: Path, base: str, trigger: Sequence[str]) -> None:
        """What was trained in a network that has ``begun``; ``base`` is the digest of what it began as."""

    def changes(self, path: Path, network: nn.Module) -> dict[str, Tensor]:
        """What a file adds to each parameter of its base, in float32; ValueError of a file of another one."""
        return {}

    def beside(self, path: Path, network: nn.Module) -> nn.Module | None:
        """What a file puts beside its base, which is then ``Controlled``; ValueError as of ``changes``."""
        return None


def ends_so(name: str, end: str) -> bool:
    """Whether the name of a layer ends with these steps, in which ``*`` is anything; all do with none."""
    return not end or fnmatchcase(f".{name}", f"*.{end}")


def layer_of(parameter: str) -> str:
    """The name of the layer that a parameter is of, or that one of peft's matrices is beside."""
    beside = parameter.partition(".lora_")[0]
    return beside if beside != parameter else parameter.rpartition(".")[0] or parameter


def trained_so(ends: Collection[str], network: nn.Module) -> list[list[nn.Parameter]]:
    """For each end of a name, what is trained of the layers whose names end so.

    ValueError, under the key of the rates, of an end that nothing has which is trained.
    """
    layers: dict[str, list[nn.Parameter]] = {}
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            layers.setdefault(layer_of(name), []).append(weight)
    found = [[weight for name in layers if ends_so(name, end) for weight in layers[name]] for end in ends]
    for end, weights in zip(ends, found, strict=True):
        if not weights:
            raise ValueError(
                f"adapter.rates: {end!r} is the end of none of the {len(layers)} layers that are trained,"
                f" {next(iter(layers))} for one"
            )
    return found


def part_of(network: nn.Module) -> str:
    """What a pipeline of diffusers calls the network that ``inside`` gives."""
    return getattr(network, "part", "unet")


def inside(network: nn.Module) -> nn.Module:
    """A library's network in a backbone of this package, as a pipeline has it; of other backbones itself."""
    return cast(nn.Module, getattr(network, "net", network))


@contextmanager
def merged(network: nn.Module, changes: Sequence[tuple[Mapping[str, Tensor], float]]) -> Iterator[None]:
    """The network with every change times its scale added, in float32; after it, to the bit as it was before.

    At scale 0 nothing is touched.
    """
    own = dict(network.named_parameters())
    used = [(change, scale) for change, scale in changes if scale]
    before = {name: own[name].detach().clone() for change, _ in used for name in change}
    try:
        with torch.no_grad():
            for name, weight in before.items():
                parts = (scale * change[name].to(weight.device) for change, scale in used if name in change)
                total = sum(parts)
                own[name].copy_(weight + total)  # float32, if the weight is less
        yield
    finally:
        with torch.no_grad():
            for name, weight in before.items():
                own[name].copy_(weight)
