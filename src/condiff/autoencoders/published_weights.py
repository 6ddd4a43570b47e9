"""Names of tensors: those of diffusers' files, and ours. They differ in the codebook alone.

Files from before diffusers 0.15 have other names in the attention, too.
"""

from collections.abc import Mapping

from torch import Tensor

_CODES, _PUBLISHED_CODES = "codebook.vectors", "quantize.embedding.weight"
_OWN = ("codebook.usage",)  # ours alone: how often codes were chosen, which a training goes on with
_OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a ``DiffusersKL``, ``DiffusersVQ`` or ``DiffusersTiny`` as diffusers would save it."""
    return {
        _PUBLISHED_CODES if name == _CODES else name: tensor
        for name, tensor in state.items()
        if name not in _OWN
    }


def taken(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file of diffusers by our names."""
    return {_own_name(name): tensor for name, tensor in tensors.items()}


def _own_name(name: str) -> str:
    if name == _PUBLISHED_CODES:
        return _CODES
    layer, _, kind = name.rpartition(".")
    above, _, last = layer.rpartition(".")
    return f"{above}.{_OLD[last]}.{kind}" if ".attentions." in name and last in _OLD else name
