"""Class labels as a condition."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from condiff.conditioners.conditioner import Conditioner, Lacking, Uniform, without
from condiff.diffusion.condition import Condition
from condiff.ranges import Count, checked


class ClassLabel(Conditioner):
    """batch["label"], [B] int64; the null is one class more, ``num_classes``.

    A study that never drops its condition has no null (``with_null`` false): the network then has no
    row for it either, and guidance that asks for one is refused.
    """

    gives: ClassVar[tuple[str, ...]] = ("label",)

    @checked
    def __init__(self, num_classes: Count, with_null: bool) -> None:
        self.num_classes = num_classes
        self.with_null = with_null

    @property
    def num_labels(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.num_classes + self.with_null

    def __call__(self, batch: Mapping[str, Any]) -> Condition:
        label = batch["label"]
        null = Condition(label=torch.full_like(label, self.num_classes)) if self.with_null else None
        return Condition(label=label, null=null)

    def dropped(self, batch: Mapping[str, Any], uniform: Uniform, share: float) -> tuple[Condition, Lacking]:
        return without(self(batch), uniform, share, "label")
