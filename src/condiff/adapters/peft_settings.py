"""The settings of peft's LoraConfig that say what the tensors of an adapter mean, read and written."""

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from condiff.adapters.adapter import Layer

# Each changes what is computed from the tensors, and none of them is read.
_MUST_BE_UNSET = (
    "bias",
    "lora_bias",
    "fan_in_fan_out",
    "modules_to_save",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "use_qalora",
    "use_bdlora",
    "velora_config",
    "monteclora_config",
    "arrow_config",
    "kasa_config",
)
_UNSET = (None, False, "none", [], {})
# Beginnings that leave W = W0 + s B A; the others, such as pissa and olora, change W0 itself. That of mica is
# A = 0 beside a B that stays as it was.
_KEEP_BASE = (True, False, None, "gaussian", "eva", "orthogonal", "mica")
_REPEATED = re.compile(r"\)[*+{]")  # a repeated group can keep a matcher busy forever


@dataclass(frozen=True)
class Settings:
    """Rank and alpha of layers, with exceptions by a pattern of their names; None: they do not say it."""

    rank: int | None
    alpha: float | None
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    root: bool  # the scale is alpha / sqrt(rank) (Kalajdzievski 2023: rsLoRA; from memory)
    dora: bool

    @classmethod
    def read(cls, said: Mapping[str, Any], what: str) -> "Settings":
        """ValueError that starts with ``what`` where they are those of another method, or no numbers."""
        if said.get("peft_type", "LORA") != "LORA":
            raise ValueError(f"{what}: peft_type is {said['peft_type']}; only LORA is read")
        if said.get("init_lora_weights", True) not in _KEEP_BASE:
            raise ValueError(
                f"{what}: init_lora_weights is {said['init_lora_weights']}, which changes the base too; have"
                " peft convert it (path_initial_model_for_weight_conversion of save_pretrained)"
            )
        other = [name for name in _MUST_BE_UNSET if said.get(name) not in _UNSET]
        if other:
            raise ValueError(f"{what}: {other[0]} is {said[other[0]]}, which is not read; train without it")
        rank, alpha = said.get("r"), said.get("lora_alpha")  # peft writes both: its own 8 would be a guess
        ranks, alphas = said.get("rank_pattern") or {}, said.get("alpha_pattern") or {}
        if not isinstance(ranks, dict) or not isinstance(alphas, dict):
            raise ValueError(f"{what}: rank_pattern and alpha_pattern must be numbers by name")
        numbers = [
            *(value for value in (rank, alpha) if value is not None),
            *ranks.values(),
            *alphas.values(),
        ]
        if not all(map(_is_positive, numbers)):
            raise ValueError(f"{what}: r, lora_alpha and those of their patterns must be positive numbers")
        for pattern in (*ranks, *alphas):
            _check_pattern(pattern, what)
        return cls(rank, alpha, ranks, alphas, bool(said.get("use_rslora")), bool(said.get("use_dora")))

    def alpha_of(self, names: Collection[str], rank: int) -> float | None:
        """alpha of a layer that has these names, for a scale of alpha / rank; None where nothing says it."""
        alpha = _chosen(self.alphas, names, self.alpha)
        return alpha * math.sqrt(rank) if self.root and alpha is not None else alpha

    def check(self, names: Collection[str], layer: Layer, what: str) -> None:
        """ValueError where they contradict the tensors of a layer that has these names."""
        rank = _chosen(self.ranks, names, self.rank)
        first = next(iter(names))
        if rank not in (None, layer.rank):
            raise ValueError(f"{what}: {first} has rank {layer.rank}, and the settings beside it say {rank}")
        if self.dora and layer.magnitude is None:
            raise ValueError(f"{what}: {first} has no magnitude, but use_dora is set; copy it again")


def settings_of(
    layers: Mapping[str, Layer], others: Collection[str], anchored: bool = True
) -> dict[str, Any]:
    """Arguments of a LoraConfig for layers of one network, of which ``others`` are all names.

    anchored: patterns begin where names do; a text encoder's do not, whose names may have a word in front.
    """
    rank = Counter(layer.rank for layer in layers.values()).most_common(1)[0][0]
    alpha = Counter(layer.alpha for layer in layers.values()).most_common(1)[0][0]
    start = "^" if anchored else ""
    ranks = {f"{start}{name}": layer.rank for name, layer in layers.items()}
    alphas = {f"{start}{name}": _plain(layer.alpha) for name, layer in layers.items()}
    return {
        "r": rank,
        "lora_alpha": _plain(alpha),
        "rank_pattern": {name: value for name, value in ranks.items() if value != rank},
        "alpha_pattern": {name: value for name, value in alphas.items() if value != alpha},
        "target_modules": targets_of(layers, others),
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
            kernel = layer.down.shape[2:]
            shape = (1, -1, *(1 for _ in kernel)) if kernel else (-1,)
            tensors[f"{name}.lora_magnitude_vector"] = layer.magnitude.reshape(shape)
    return tensors


def targets_of(layers: Collection[str], others: Collection[str]) -> list[str] | str:
    """Names, which peft also takes as the ends of names; where that reaches other layers, one pattern."""
    ends = tuple(f".{name}" for name in layers)
    if not any(name.endswith(ends) for name in others if name not in layers):
        return sorted(layers)
    return "|".join(re.escape(name) for name in sorted(layers))


def _chosen(patterns: Mapping[str, Any], names: Collection[str], default: Any) -> Any:
    """That of the first pattern that is all of a name, or its end behind a dot (peft, get_pattern_key)."""
    for pattern, value in patterns.items():
        if any(re.match(rf"(.*\.)?({pattern})$", name) for name in names):
            return value
    return default


def _check_pattern(pattern: str, what: str) -> None:
    try:
        re.compile(pattern)
        bad = _REPEATED.search(pattern) is not None
    except re.error:
        bad = True
    if bad:
        raise ValueError(f"{what}: {pattern[:60]} is no pattern that is read; name the layers plainly")


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _plain(alpha: float) -> float | int:
    return int(alpha) if float(alpha).is_integer() else alpha
