"""Captions as a condition, while their encoder is trained."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from condiff.conditioners.conditioner import Conditioner, Lacking, Uniform
from condiff.conditioners.text import NULL, Text
from condiff.diffusion.condition import Condition


class LiveText(Conditioner):
    """What ``text`` is, but each caption is encoded anew, and the null with it, by ``networks``.

    Nothing that was kept of captions before the training is used; gradients reach the networks.
    """

    needs_text: ClassVar[bool] = True

    def __init__(self, text: Text, networks: nn.ModuleDict) -> None:
        if text.whitened:
            raise ValueError(
                f"conditioner.whitened: must be 0 where the text encoder is trained, got {text.whitened}"
            )
        self.text, self.networks = text, networks
        self.gives = text.gives  # pyright: ignore[reportAttributeAccessIssue]

    def by(self, networks: nn.ModuleDict) -> "LiveText":
        """The same with other weights."""
        return LiveText(self.text, networks)

    def __call__(self, batch: Mapping[str, Any]) -> Condition:
        place = next(value.device for value in batch.values() if isinstance(value, Tensor))
        networks = dict(self.networks.items())
        tokens, pooled = self.text.encoder.live([*batch["text"], NULL], networks, place)
        count = len(tokens) - 1
        null = _condition(tokens[-1:].expand(count, -1, -1), pooled[-1:].expand(count, -1), None)
        own = _condition(tokens[:-1], pooled[:-1], null if self.text.with_null else None)
        return self.text.framed(own, batch)

    def dropped(self, batch: Mapping[str, Any], uniform: Uniform, share: float) -> tuple[Condition, Lacking]:
        return self.text.lessened(self(batch), uniform, share)


def _condition(tokens: Tensor, pooled: Tensor, null: Condition | None) -> Condition:
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    return Condition(tokens=tokens, token_mask=mask, pooled=pooled, null=null)
