"""The U-Net of Stable Diffusion XL that others have trained, used as it is."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from condiff.diffusion.condition import Condition
from condiff.networks.pretrained import Pretrained
from condiff.ranges import Count, Natural, checked

_NUMBERS = 6  # of a framing


class PretrainedXL(Pretrained):
    """Backbone: one that is also told a pooled text and how a picture was cut (Podell 2023, sec. 2.2).

    Where the condition does not say that, as in sampling, it is a whole picture of the latent's size, with
    ``pixels`` a side for each of its places.
    """

    hears_pooled: ClassVar[bool] = True

    @checked
    def __init__(
        self,
        channels: Count,
        num_labels: Natural,
        size: Count,
        weights: str,
        num_steps: Count = 1000,
        concat_channels: Natural = 0,
        text_width: Natural = 0,
        pooled_width: Natural = 0,
        pixels: Count = 8,
    ) -> None:
        super().__init__(channels, num_labels, size, weights, num_steps, concat_channels, text_width)
        self.pixels = pixels
        width = self.told["projection_class_embeddings_input_dim"]
        wanted = width - _NUMBERS * self.told["addition_time_embed_dim"]
        if pooled_width and pooled_width != wanted:
            raise ValueError(
                f"PretrainedXL.weights: {self.files.folder} hears a pooled text of {wanted} numbers, and the"
                f" text encoder gives {pooled_width}; use that of its pipeline, conditioner=text_sdxl"
            )

    def check_added(self, settings: Mapping[str, Any], config: str) -> None:
        added = settings.get("addition_embed_type")
        if added != "text_time":
            raise ValueError(
                f"{config}: addition_embed_type must be text_time, as SDXL's, got {added}; use"
                " network=pretrained"
            )
        self.told = settings

    def added(self, x: Tensor, cond: Condition) -> dict[str, Any]:
        if cond.pooled is None:
            raise ValueError("PretrainedXL needs a pooled text, and got none; use conditioner=text_sdxl")
        height, width = (self.pixels * side for side in x.shape[-2:])
        framing = cond.framing
        if framing is None:
            framing = torch.tensor([[height, width, 0, 0, height, width]]).expand(len(x), -1)
        return {"added_cond_kwargs": {"text_embeds": cond.pooled, "time_ids": framing.to(x)}}
