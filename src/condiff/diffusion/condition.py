"""What a sample is conditioned on."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

_OF_TEXT = ("label", "tokens", "token_mask", "pooled")
FIELDS = (*_OF_TEXT, "control", "control_scale", "concat", "pose", "framing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Encoded conditions of a batch. Every field is [B, ...], or None when the study does not use it."""

    label: Tensor | None = None  # [B] int64
    tokens: Tensor | None = None  # [B, L, D] text hidden states
    token_mask: Tensor | None = None  # [B, L] bool, true where a token counts
    pooled: Tensor | None = None  # [B, D] pooled text
    control: Tensor | None = None  # [B, C, H, W] in [0, 1], a hint that a ControlNet reads
    control_scale: Tensor | None = None  # [B] how much of it counts; None is 1, all of it
    concat: Tensor | None = None  # [B, C, H, W] stacked under x_t
    pose: Tensor | None = None  # [B, D] camera of the wanted view relative to the given one
    framing: Tensor | None = None  # [B, 6] height and width of the whole, top and left of the cut, its size
    null: "Condition | None" = None  # what each field is when it is not asked for; set by the conditioner
    others: tuple["Condition", ...] = ()  # more conditions of the same samples, for a guidance to compose

    def without(self, *names: str) -> "Condition":
        """The same batch with the named fields, or all of them, not asked for."""
        if self.null is None:
            raise ValueError(
                "this condition has no null: its conditioner does not say what 'not asked for' is, "
                "so nothing can be dropped or guided away from; train it with a condition dropout"
            )
        return replace(self, **{name: getattr(self.null, name) for name in names or FIELDS})

    def where(self, keep: Tensor, other: "Condition") -> "Condition":
        """Per sample: this condition where keep, [B] bool, is true, else the other one."""
        return self._zip(lambda a, b: torch.where(keep.view(-1, *[1] * (a.ndim - 1)), a, b), other)

    def cat(self, *others: "Condition") -> "Condition":
        """One batch made of several."""
        return self._zip(lambda *values: torch.cat(values), *others)

    def __getitem__(self, index: slice | Tensor) -> "Condition":
        """The samples at these places of the batch."""
        return self._zip(lambda value: value[index])

    def to(self, device: torch.device | str) -> "Condition":
        return self._zip(lambda value: value.to(device))

    def _zip(self, join: Callable[..., Tensor], *others: "Condition") -> "Condition":
        all_of_them = (self, *others)
        joined = {}
        for name in FIELDS:
            values = [getattr(c, name) for c in all_of_them]
            if all(v is None for v in values):
                continue
            if any(v is None for v in values):
                raise ValueError(f"Condition.{name} is set in some of the conditions and missing in others")
            joined[name] = join(*values)
        nulls = [c.null for c in all_of_them if c.null is not None]
        null = nulls[0]._zip(join, *nulls[1:]) if len(nulls) == len(all_of_them) else None
        if len({len(c.others) for c in all_of_them}) > 1:
            raise ValueError("Condition.others has more conditions in some batches than in others")
        more = zip(*(c.others for c in all_of_them), strict=True)
        others = tuple(first._zip(join, *rest) for first, *rest in more)
        return Condition(**joined, null=null, others=others)
