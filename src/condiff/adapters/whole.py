"""Plain further training of all of a network: what adapters are compared with."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from condiff.adapters.about import phrase_of
from condiff.adapters.base import digest_of
from condiff.adapters.tensor_files import read_header, read_tensors, write_tensors
from condiff.adapters.tuning import Tuning, inside

_BASE = "condiff_base"  # in the header


class Whole(Tuning):
    """Every parameter is trained; a scale between 0 and 1 lies between the two networks (Wortsman 2022)."""

    with_text: ClassVar[bool] = True

    def begin(self, network: nn.Module) -> nn.Module:
        return network.requires_grad_(True)

    def check(self, network: nn.Module) -> None:
        pass  # every network has parameters

    def write(self, network: nn.Module, path: Path, base: str, trigger: Sequence[str]) -> None:
        write_tensors(path, dict(network.named_parameters()), {_BASE: base, **phrase_of(trigger)})

    def changes(self, path: Path, network: nn.Module) -> dict[str, Tensor]:
        tensors, header = read_tensors(path)
        own = {name: weight.detach().float().cpu() for name, weight in network.named_parameters()}
        if {name: weight.shape for name, weight in own.items()} != {n: t.shape for n, t in tensors.items()}:
            raise ValueError(f"{path}: its {len(tensors)} tensors are not those of {type(network).__name__}")
        if header.get(_BASE) != digest_of(inside(network)):
            raise ValueError(f"{path}: was trained on another base; give the one that it was trained on")
        return {name: tensors[name].float() - weight for name, weight in own.items()}


def is_whole(path: Path) -> bool:
    """Whether it is a file of a network that was trained so, by its header."""
    return path.is_file() and path.suffix == ".safetensors" and _BASE in read_header(path)
