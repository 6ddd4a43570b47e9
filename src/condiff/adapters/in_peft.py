"""Between an adapter in memory and peft's layers in a network: put in, and read out again."""

from collections.abc import Mapping
from typing import Any

from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import nn

from condiff.adapters.adapter import Layer
from condiff.adapters.base import Base
from condiff.adapters.peft_settings import peft_tensors, settings_of

_PART = "network"


def put(network: nn.Module, layers: Mapping[str, Layer], name: str = "default") -> None:
    """Give a network peft's layers with these matrices, under a name that it does not have yet."""
    others = [known.removeprefix(f"{_PART}.") for known in Base.of({_PART: network}).shapes]
    inject_adapter_in_model(LoraConfig(**settings_of(layers, others)), network, name)
    left = set_peft_model_state_dict(network, peft_tensors(layers), name)
    lacking = [key for key in left.missing_keys if f".{name}." in key]
    assert not left.unexpected_keys, left.unexpected_keys
    assert not lacking, lacking


def taken(network: nn.Module, name: str = "default") -> dict[str, Layer]:
    """The layers that peft has in a network, by module, at the scale that they have now."""
    return {
        module_name: _layer(module, name)
        for module_name, module in network.named_modules()
        if isinstance(module, LoraLayer) and name in module.lora_A
    }


def _layer(module: Any, name: str) -> Layer:
    down, up = module.lora_A[name].weight.detach(), module.lora_B[name].weight.detach()
    lengths = module.lora_magnitude_vector
    magnitude = lengths[name].weight.detach().flatten() if name in lengths else None
    return Layer(down, up, float(module.scaling[name] * down.shape[0]), magnitude)
