"""A class and a picture as a condition: what to do, and to what."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from condiff.conditioners.conditioner import DROP, Lacking, Uniform
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

    def dropped(self, batch: Mapping[str, Any], uniform: Uniform, share: float) -> tuple[Condition, Lacking]:
        """One draw for both: a ``share`` lacks the class, one both, one the picture.

        In this order along the draw, as InstructPix2Pix's published training does it.
        """
        cond, u = self(batch), uniform(DROP)
        no_label, no_picture = u < 2 * share, (u >= share) & (u < 3 * share)
        kept = cond.where(~no_label, cond.without("label"))
        kept = kept.where(~no_picture, kept.without("concat"))
        return kept, {"label": no_label, "picture": no_picture}
