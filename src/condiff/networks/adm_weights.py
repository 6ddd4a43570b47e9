"""ADM's published weights: which of their tensors is which of ours, and nothing left over on either side."""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Size, Tensor, nn

from condiff.files import DAMAGED

SHOWN = 3  # names of a misfit that are told
# What reading a file raises whose bytes are not those of weights.
_DAMAGED = (
    *DAMAGED,
    SafetensorError,
    pickle.UnpicklingError,
    RuntimeError,
    LookupError,
    AssertionError,
    AttributeError,
    TypeError,
)
# The last words of our names, and what stands in their place in ADM's files.
_WORDS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
    "group_norm": "norm",
    "to_q": "qkv",
    "to_k": "qkv",
    "to_v": "qkv",
    "to_out.0": "proj_out",
    "time.mlp.linear_1": "time_embed.0",
    "time.mlp.linear_2": "time_embed.2",
}
_JOINT = ("to_q", "to_k", "to_v")  # in this order, one tensor of ADM's
_POINTWISE = ("qkv", "proj_out", "qkv_proj", "c_proj")  # linear layers that ADM has as convolutions of size 1


def fill(network: nn.Module, path: Path, key: str, joint_heads: bool) -> None:
    """Give a network the weights of a file; ValueError where a tensor is missing, left over or misshapen.

    ``key`` is where the config has the network, and ``joint_heads`` how the file orders its attention.
    """
    given = read(path, key)
    check(network, {name: tensor.shape for name, tensor in given.items()}, path, key)
    network.load_state_dict(dict(_converted(network, given, joint_heads)), strict=True)


def read(path: Path, key: str) -> dict[str, Tensor]:
    """Tensors by name, of safetensors or of a .pt that holds nothing else: no code in it is ever run."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        lazily = zipfile.is_zipfile(path)  # torch's format since 1.6 is mapped into memory
        found: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise ValueError(f"{key}.weights: {path} cannot be read ({error.strerror})") from error
    except _DAMAGED as error:
        raise ValueError(
            f"{key}.weights: {path} is damaged, or holds more than tensors, and that is never read; give a"
            " file of safetensors, or a .pt of a state dict alone"
        ) from error
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"{key}.weights: {path} must hold tensors by name and nothing else")
    return dict(found)


def check(network: nn.Module, shapes: Mapping[str, Size], path: Path, key: str) -> None:
    """Whether the tensors of a file are those of a network, name by name; one line of all that is wrong."""
    asked = layout(network)
    missing, more = [n for n in asked if n not in shapes], [n for n in shapes if n not in asked]
    other = [
        f"{name} {list(shapes[name])}, not {list(shape)}"
        for name, shape in asked.items()
        if name in shapes and shapes[name] != shape
    ]
    wrong = {"lacks": missing, "has nothing to do with": more, "has in another shape": other}
    told = [f"{what} {_some(names)}" for what, names in wrong.items() if names]
    if told:
        raise ValueError(
            f"{key}.weights: {path} does not fit {key} ({type(network).__name__}): it {'; it '.join(told)};"
            f" set {key} to the configuration that the file was trained with, and the data to its classes"
        )


def layout(network: nn.Module) -> dict[str, Size]:
    """Every tensor that a file for this network must have, by ADM's name, with its shape there."""
    found: dict[str, Size] = {}
    for name, tensor in network.state_dict().items():
        published, shape = published_name(name), tensor.shape
        words = published.split(".")
        if words[-2] == "qkv":
            shape = Size([3 * shape[0], *shape[1:]])
        if words[-2] in _POINTWISE and words[-1] == "weight":
            shape = Size([*shape, 1])
        found[published] = shape
    return found


def published_name(name: str) -> str:
    """ADM's name of one of our tensors: input_blocks.1.0.conv1.bias is input_blocks.1.0.in_layers.2.bias."""
    layer, _, kind = name.rpartition(".")
    for ours, theirs in _WORDS.items():
        if layer == ours or layer.endswith(f".{ours}"):
            return f"{layer.removesuffix(ours)}{theirs}.{kind}"
    # halving is called op in ADM's files, doubling conv; both hold a convolution of diffusers
    return f"{layer.removesuffix('.conv')}.op.{kind}" if _halves(layer) else name


def _halves(layer: str) -> bool:
    return layer.startswith("input_blocks.") and layer.endswith(".conv")


def _converted(
    network: nn.Module, given: Mapping[str, Tensor], joint_heads: bool
) -> Iterator[tuple[str, Tensor]]:
    for name, ours in network.state_dict().items():
        tensor = given[published_name(name)]
        layer, part = network.get_submodule(name.rpartition(".")[0].rpartition(".")[0]), name.split(".")[-2]
        if part in _JOINT:
            tensor = _split(tensor, layer.heads, joint_heads)[_JOINT.index(part)]  # pyright: ignore
        yield name, tensor.reshape(ours.shape)


def _split(joint: Tensor, heads: int, joint_heads: bool) -> Tensor:
    """Queries, keys and values, [3, C, ...], of one tensor of ADM's, [3 C, ...]; see ``ADM.joint_heads``."""
    if joint_heads:
        return joint.unflatten(0, (3, -1))
    return joint.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(1, 2)


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
