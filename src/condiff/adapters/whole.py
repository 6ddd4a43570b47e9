"""Plain further training of all of a network: what adapters are compared with."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from condiff.adapters.about import phrase_of
from condiff.adapters.base import digest_of
from condiff.adapters.control_files import is_control
from condiff.adapters.tensor_files import read_header, read_shapes, read_tensors, write_tensors
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
        refuse_other(path, network, lambda: digest_of(inside(network)))
        tensors, _ = read_tensors(path)
        own = {name: weight.detach().float().cpu() for name, weight in network.named_parameters()}
        return {name: tensors[name].float() - weight for name, weight in own.items()}


def refuse_other(path: Path, network: nn.Module, digest: Callable[[], str] | None) -> None:
    """ValueError where a file's tensors are not of such a network, or of one with another digest.

    None is read but its names and shapes. digest: None where it is not known.
    """
    own, theirs = {n: tuple(w.shape) for n, w in network.named_parameters()}, read_shapes(path)
    if own != theirs:
        raise ValueError(f"{path}: its {len(theirs)} tensors are not those of {type(network).__name__}")
    if digest is not None and base_said(path) != digest():
        raise ValueError(f"{path}: was trained on another base; give the one that it was trained on")


def is_whole(path: Path) -> bool:
    """Whether it is a file of a network that was trained so, by its header."""
    return base_said(path) is not None and not is_control(path)


def base_said(path: Path) -> str | None:
    """The digest of the base that its header says; None where it says none."""
    return read_header(path).get(_BASE) if path.is_file() and path.suffix == ".safetensors" else None
