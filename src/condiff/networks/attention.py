"""Self-attention that is perturbed: each pixel attends to itself alone (Ahn 2024, eq. 6)."""

from collections.abc import Sequence
from typing import Any

from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from condiff.diffusion.condition import Condition
from condiff.diffusion.process import Marginal


class PerturbedSelfAttention(nn.Module):
    """Backbone: a U-Net of diffusers with the same weights, some of its self-attention perturbed."""

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.chosen = self_attention(network, layers)

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        kept = [layer.processor for layer in self.chosen]
        try:
            for layer in self.chosen:
                layer.processor = _ToItself()  # pyright: ignore[reportAttributeAccessIssue]
            return self.network(x, m, cond)
        finally:
            for layer, processor in zip(self.chosen, kept, strict=True):
                layer.processor = processor


def self_attention(network: nn.Module, layers: Sequence[str]) -> list[Attention]:
    """The self-attention whose dotted names contain one of these; ValueError where one names none."""
    every = {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, Attention) and not layer.is_cross_attention
    }
    unknown = [part for part in layers if not any(part in name for name in every)]
    if unknown:
        there = ", ".join(every) or "none; choose a network with attention"
        raise ValueError(f"guidance.layers: no self-attention is called {unknown[0]!r}; there are {there}")
    return [layer for name, layer in every.items() if any(part in name for part in layers)]


class _ToItself:
    """In the place of a processor of diffusers: the values themselves, as if the map were the identity."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        given, shape = hidden_states, hidden_states.shape
        if len(shape) == 4:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        for part in (attn.to_v, *attn.to_out):
            hidden_states = part(hidden_states)
        if len(shape) == 4:
            hidden_states = hidden_states.transpose(1, 2).reshape(shape)
        if attn.residual_connection:
            hidden_states = hidden_states + given
        return hidden_states / attn.rescale_output_factor
