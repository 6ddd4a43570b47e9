"""Tensors in files of safetensors, and whether they are those of a network."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

_OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def read_tensors(files: Sequence[Path], key: str, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """By name, all or those of ``names``; ValueError, beginning with ``key``.weights, of a damaged file."""
    tensors: dict[str, Tensor] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                there = file.keys() if names is None else names
                tensors |= {name: file.get_tensor(name) for name in there}
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{key}.weights: {path} is damaged ({error}); copy it again") from error
    return tensors


def misfit(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """What of ``given`` is missing, left over or misshapen, as the end of a sentence; None if all fits."""
    lacking = [f"lacks {name}" for name in wanted if name not in given]
    more = [f"has nothing to do with {name}" for name in given if name not in wanted]
    other = [
        f"has {name} as {list(given[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    wrong = [*lacking, *more, *other]
    if not wrong:
        return None
    return f"it {wrong[0]}{f', and {len(wrong) - 1} more' if len(wrong) > 1 else ''}"


def current(name: str) -> str:
    """The name that diffusers gives a tensor now; files from before its 0.15 have others in attention."""
    layer, _, kind = name.rpartition(".")
    above, _, last = layer.rpartition(".")
    return f"{above}.{_OLD[last]}.{kind}" if ".attentions." in name and last in _OLD else name
