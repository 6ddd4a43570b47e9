"""A class and a picture as a condition: what to do, and to what."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from condiff.conditioners.label import ClassLabel
from condiff.diffusion.condition import Condition


class LabelAndPicture(ClassLabel):
    """batch["label"], [B] int64, and batch["source"], [B, C, H, W], which is stacked under x_t.

    The null of the picture is zeros (Brooks 2023, sec. 3.2).
    """

    gives: ClassVar[tuple[str, ...]] = ("label", "concat")
    needs_source: ClassVar[bool] = True
    most_dropped: ClassVar[float] = 1 / 3

    def concat_channels(self, channels: int) -> int:
        return channels

    def __call__(self, batch: Mapping[str, Any]) -> Condition:
        label, picture = super().__call__(batch), batch["source"]
        null = Condition(label=label.null.label, concat=torch.zeros_like(picture)) if label.null else None
        return Condition(label=label.label, concat=picture, null=null)

    def drop(self, cond: Condition, u: Tensor, share: float) -> Condition:
        """One draw u, [B] in [0, 1), for both: a ``share`` lacks the class, one both, one the picture.

        In this order along u, as InstructPix2Pix's published training does it.
        """
        kept = cond.where(u >= 2 * share, cond.without("label"))
        return kept.where((u < share) | (u >= 3 * share), kept.without("concat"))
