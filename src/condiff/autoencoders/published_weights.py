"""Names of tensors: those of diffusers' files, and ours. They differ in the codebook alone."""

from collections.abc import Mapping

from torch import Tensor

from condiff.weight_files import current

_CODES, _PUBLISHED_CODES = "codebook.vectors", "quantize.embedding.weight"
_OWN = ("codebook.usage",)  # ours alone: how often codes were chosen, which a training goes on with


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
    return _CODES if name == _PUBLISHED_CODES else current(name)
