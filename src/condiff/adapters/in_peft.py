"""Between an adapter in memory and peft's layers in a network: put in, and read out again."""

from collections.abc import Mapping
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import nn

from condiff.adapters.adapter import Layer
from condiff.adapters.base import Base
from condiff.adapters.peft_settings import peft_tensors, settings_of

_PART = "network"
_DOWN, _UP = "first_down", "first_up"  # buffers of a layer, in no file


def put(network: nn.Module, layers: Mapping[str, Layer], name: str = "default") -> None:
    """Give a network peft's layers with these matrices, under a name that it does not have yet."""
    others = [known.removeprefix(f"{_PART}.") for known in Base.of({_PART: network}).shapes]
    inject_adapter_in_model(LoraConfig(**settings_of(layers, others)), network, name)
    left = set_peft_model_state_dict(network, peft_tensors(layers), name)
    lacking = [key for key in left.missing_keys if f".{name}." in key]
    assert not left.unexpected_keys, left.unexpected_keys
    assert not lacking, lacking


def remember(network: nn.Module) -> None:
    """Of matrices that begin with a share of the weights, which peft has lowered by it: keep that share."""
    for module in _layers(network, "default").values():
        module.register_buffer(_DOWN, module.lora_A["default"].weight.detach().clone(), persistent=False)
        module.register_buffer(_UP, module.lora_B["default"].weight.detach().clone(), persistent=False)


def taken(network: nn.Module, name: str = "default") -> dict[str, Layer]:
    """The layers that peft has in a network, by module, at the scale that they have now.

    Each is what it adds to the weights of the base, so a share of these that is ``remember``ed is taken off.
    """
    return {module_name: _layer(module, name) for module_name, module in _layers(network, name).items()}


def _layers(network: nn.Module, name: str) -> dict[str, Any]:
    return {
        module_name: module
        for module_name, module in network.named_modules()
        if isinstance(module, LoraLayer) and name in module.lora_A
    }


def _layer(module: Any, name: str) -> Layer:
    down, up = module.lora_A[name].weight.detach(), module.lora_B[name].weight.detach()
    if hasattr(module, _DOWN):
        down = torch.cat([down, getattr(module, _DOWN)])
        up = torch.cat([up, -getattr(module, _UP)], dim=1)
    lengths = module.lora_magnitude_vector
    magnitude = lengths[name].weight.detach().flatten() if name in lengths else None
    return Layer(down, up, float(module.scaling[name] * down.shape[0]), magnitude)
