"""Files of safetensors with a header of words, the only files of adapters that are opened."""

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from condiff.files import written_whole
from condiff.single_file import PICKLED, converting

_SUFFIX = ".safetensors"


def read_tensors(
    path: Path, names: Collection[str] | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Its tensors, all or those of ``names``, and its header.

    ValueError in one line where it is no such file or holds no numbers.
    """
    _refuse_others(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in (file.keys() if names is None else names)}
            header = dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: damaged ({error}); copy it again") from error
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor.float()).all()]
    if broken:
        raise ValueError(
            f"{path}: {len(broken)} of {len(tensors)} tensors are not finite, {broken[0]} for one;"
            " its training diverged"
        )
    return tensors, header


def read_header(path: Path) -> dict[str, str]:
    """Its header alone."""
    _refuse_others(path)
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: damaged ({error}); copy it again") from error


def read_names(path: Path) -> list[str]:
    """The names of its tensors, without reading them."""
    return [*read_shapes(path)]


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of its tensors by their names, without reading these."""
    _refuse_others(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: damaged ({error}); copy it again") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    if path.suffix != _SUFFIX:
        raise ValueError(f"{path}: an adapter is written as *{_SUFFIX}; give it such a name")
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        save_file(copies, temporary, {"format": "pt", **header})


def _refuse_others(path: Path) -> None:
    if path.suffix != _SUFFIX:
        how = f", with: {converting(path)}" if path.suffix in PICKLED else ""
        raise ValueError(
            f"{path}: only *{_SUFFIX} is read, since other files of weights can hold code; ask its author for"
            f" one, or convert it yourself if you trust it{how}"
        )
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
