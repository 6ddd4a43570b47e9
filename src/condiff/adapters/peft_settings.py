"""The settings of peft's LoraConfig that say what the tensors of an adapter mean, read and written."""

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from condiff.adapters.adapter import Layer

# Settings that change what is computed from the tensors: each must be unset, or as here.
_MUST_BE = {
    "bias": "none",
    "lora_bias": False,
    "fan_in_fan_out": False,
    "modules_to_save": None,
    "layer_replication": None,
    "trainable_token_indices": None,
    "target_parameters": None,
    "alora_invocation_tokens": None,
    "use_qalora": False,
    "use_bdlora": None,
    "monteclora_config": None,
    "arrow_config": None,
}
# Beginnings that leave W = W0 + s B A; the others (pissa, olora, corda, loftq, lora_ga) change W0 itself.
_KEEPS_BASE = (True, False, None, "gaussian", "eva", "orthogonal")
_NESTED = re.compile(r"\)[*+{?]")  # a repeated group can take a matcher forever


@dataclass(frozen=True)
class Settings:
    """Rank and alpha of layers, with exceptions by a pattern of their names (peft, LoraConfig)."""

    rank: int
    alpha: float
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    root: bool  # scale alpha / sqrt(rank) instead (Kalajdzievski 2023: rsLoRA)
    dora: bool

    @classmethod
    def read(cls, said: Mapping[str, Any], what: str) -> "Settings":
        """ValueError that starts with ``what`` where they are those of another method, or no numbers."""
        kind = said.get("peft_type", "LORA")
        if kind != "LORA":
            raise ValueError(f"{what}: peft_type is {kind}, only LORA is read")
        start = said.get("init_lora_weights", True)
        if start not in _KEEPS_BASE:
            raise ValueError(
                f"{what}: init_lora_weights is {start}, which changes the base too; have peft convert it"
                " (path_initial_model_for_weight_conversion in save_pretrained)"
            )
        other = [
            name for name, value in _MUST_BE.items() if said.get(name) not in (value, None, [], {}, False)
        ]
        if other:
            raise ValueError(f"{what}: {other[0]} is {said[other[0]]}, and only {_MUST_BE[other[0]]} is read")
        rank, alpha = said.get("r", 8), said.get("lora_alpha", 8)  # peft's defaults
        ranks, alphas = said.get("rank_pattern") or {}, said.get("alpha_pattern") or {}
        if not _are_numbers([rank, alpha], what="") or not _are_numbers(
            [*ranks.values(), *alphas.values()], ""
        ):
            raise ValueError(f"{what}: r, lora_alpha and their patterns must be positive numbers")
        nested = [
            pattern for pattern in (*ranks, *alphas) if _NESTED.search(pattern) or not _compiles(pattern)
        ]
        if nested:
            raise ValueError(f"{what}: {nested[0][:60]} is no pattern that is read; name the layers plainly")
        return cls(rank, alpha, ranks, alphas, bool(said.get("use_rslora")), bool(said.get("use_dora")))

    def rank_of(self, names: Collection[str]) -> int:
        """The rank that it says of a layer of these names."""
        return _chosen(self.ranks, names, self.rank)

    def alpha_of(self, names: Collection[str], rank: int) -> float:
        """alpha for a scale of alpha / rank."""
        alpha = _chosen(self.alphas, names, self.alpha)
        return alpha * math.sqrt(rank) if self.root else alpha


def settings_of(
    layers: Mapping[str, Layer], others: Collection[str], anchored: bool = True
) -> dict[str, Any]:
    """Arguments of a LoraConfig for layers of one network, ``others`` being the rest of its layers.

    anchored: patterns begin where names do; a text encoder's do not, whose names may have a word in front.
    """
    ranks = Counter(layer.rank for layer in layers.values())
    alphas = Counter(layer.alpha for layer in layers.values())
    rank, alpha = ranks.most_common(1)[0][0], alphas.most_common(1)[0][0]
    start = "^" if anchored else ""
    return {
        "r": rank,
        "lora_alpha": _plain(alpha),
        "rank_pattern": {f"{start}{name}": at.rank for name, at in layers.items() if at.rank != rank},
        "alpha_pattern": {
            f"{start}{name}": _plain(at.alpha) for name, at in layers.items() if at.alpha != alpha
        },
        "target_modules": _targets(layers, others, start),
        "use_dora": any(layer.magnitude is not None for layer in layers.values()),
        "use_rslora": False,
        "lora_bias": False,
    }


def peft_tensors(layers: Mapping[str, Layer]) -> dict[str, Tensor]:
    """The tensors of layers as peft names and shapes them, of one network."""
    tensors: dict[str, Tensor] = {}
    for name, layer in layers.items():
        tensors[f"{name}.lora_A.weight"] = layer.down
        tensors[f"{name}.lora_B.weight"] = layer.up
        if layer.magnitude is not None:
            shape = (1, -1, *(1 for _ in layer.down.shape[2:])) if layer.down.dim() > 2 else (-1,)
            tensors[f"{name}.lora_magnitude_vector"] = layer.magnitude.reshape(shape)
    return tensors


def _targets(layers: Mapping[str, Layer], others: Collection[str], start: str) -> list[str] | str:
    """Names, which peft also takes as the ends of names; where that would reach other layers, one pattern."""
    ends = tuple(f".{name}" for name in layers)
    if not any(name.endswith(ends) for name in others if name not in layers):
        return sorted(layers)
    return f"{start}(?:{'|'.join(re.escape(name) for name in sorted(layers))})$"


def _chosen(patterns: Mapping[str, Any], names: Collection[str], default: Any) -> Any:
    """That of the first pattern that is all of a name, or its end behind a dot (peft, get_pattern_key)."""
    for pattern, value in patterns.items():
        if any(re.match(rf"(.*\.)?({pattern})$", name) for name in names):
            return value
    return default


def _are_numbers(values: list[Any], what: str) -> bool:
    return all(
        isinstance(value, int | float) and not isinstance(value, bool) and value > 0 for value in values
    )


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _plain(alpha: float) -> float | int:
    return int(alpha) if float(alpha).is_integer() else alpha
