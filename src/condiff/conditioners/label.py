"""Class labels as a condition."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from condiff.diffusion.condition import Condition
from condiff.ranges import Count, checked


class ClassLabel:
    """batch["label"], [B] int64; the null is one class more, ``num_classes``.

    A study that never drops its condition has no null (``with_null`` false): the network then has no
    row for it either, and guidance that asks for one is refused.
    """

    gives: ClassVar[tuple[str, ...]] = ("label",)
    needs_source: ClassVar[bool] = False  # whether it reads the picture that an example was made from
    most_dropped: ClassVar[float] = 1.0  # the largest share that ``drop`` can be asked for

    @checked
    def __init__(self, num_classes: Count, with_null: bool) -> None:
        self.num_classes = num_classes
        self.with_null = with_null

    @property
    def num_labels(self) -> int:
        """Rows of an embedding table that holds every label and the null."""
        return self.num_classes + self.with_null

    def concat_channels(self, channels: int) -> int:
        """How many channels it stacks under x_t, which has ``channels``."""
        return 0

    def __call__(self, batch: Mapping[str, Any]) -> Condition:
        label = batch["label"]
        null = Condition(label=torch.full_like(label, self.num_classes)) if self.with_null else None
        return Condition(label=label, null=null)

    def drop(self, cond: Condition, u: Tensor, share: float) -> Condition:
        """The condition, not asked for where u, [B] in [0, 1), is below ``share``."""
        return cond.where(u >= share, cond.without())
