"""Captions together with how each picture was cut from a larger one."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from condiff.conditioners.text import Text
from condiff.diffusion.condition import Condition


class FramedText(Text):
    """A caption, and batch["framing"], [B, 6], where the data have it, which is never dropped.

    Where there is none, as in sampling, a network takes its pictures for whole ones of their own size.
    """

    gives: ClassVar[tuple[str, ...]] = ("tokens", "token_mask", "pooled", "framing")

    def framed(self, cond: Condition, batch: Mapping[str, Any]) -> Condition:
        framing = batch.get("framing")
        if framing is None:
            return cond
        null = None if cond.null is None else replace(cond.null, framing=framing)
        return replace(cond, framing=framing, null=null)
