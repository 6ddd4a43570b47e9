"""Another condition with a hint beside it, for a ControlNet."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from condiff.conditioners.conditioner import Conditioner, Lacking, Uniform
from condiff.diffusion.condition import Condition


class WithControl(Conditioner):
    """What another conditioner makes of a batch, and batch["control"], [B, C, H, W] in [0, 1].

    The hint is never dropped: what is dropped, and what is not asked for, is the other condition alone
    (Zhang 2023, sec. 3.3 and 3.4). Unless it is ``in_null``, samples are led away from what no hint controls.
    """

    gives: ClassVar[tuple[str, ...]] = ("control",)
    needs_control: ClassVar[bool] = True

    def __init__(self, other: Conditioner, in_null: bool = True) -> None:
        self.other, self.in_null = other, in_null
        self.needs_text, self.needs_source = other.needs_text, other.needs_source  # pyright: ignore[reportAttributeAccessIssue]
        self.most_dropped = other.most_dropped  # pyright: ignore[reportAttributeAccessIssue]
        self.num_labels, self.token_width = other.num_labels, other.token_width
        self.pooled_width = other.pooled_width

    def __call__(self, batch: Mapping[str, Any]) -> Condition:
        return self._with(self.other(batch), batch["control"])

    def dropped(self, batch: Mapping[str, Any], uniform: Uniform, share: float) -> tuple[Condition, Lacking]:
        cond, lacking = self.other.dropped(batch, uniform, share)
        return self._with(cond, batch["control"]), lacking

    def anew(self) -> AbstractContextManager[None]:
        return self.other.anew()

    def concat_channels(self, channels: int) -> int:
        return self.other.concat_channels(channels)

    def example(self, batch: Mapping[str, Any]) -> Condition:
        return self._with(self.other.example(batch), batch["control"])

    def leave(self, folder: Path) -> None:
        self.other.leave(folder)

    def _with(self, cond: Condition, hint: Tensor) -> Condition:
        every = None if self.in_null else torch.ones(len(hint), device=hint.device)
        none = None if every is None else torch.zeros_like(every)
        null = None if cond.null is None else replace(cond.null, control=hint, control_scale=none)
        return replace(cond, control=hint, control_scale=every, null=null)
