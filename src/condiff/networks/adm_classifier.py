"""ADM's classifier of noisy images (Dhariwal & Nichol 2021, sec. 4), which its published weights fit."""

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from condiff.diffusion.process import Marginal
from condiff.networks.adm_blocks import EPS, GROUPS, Design, StepEmbedding
from condiff.networks.adm_weights import fill
from condiff.networks.classifier import ImageClassifier
from condiff.ranges import Count, Positive, Probability, checked


class ADMClassifier(ImageClassifier):
    """The way down of ADM's U-Net and its middle, then a pool by attention; for ``weights`` see ``ADM``."""

    needs_chain: ClassVar[bool] = True

    @checked
    def __init__(
        self,
        channels: Count,
        num_classes: Count,
        size: Count,
        width: Count,
        multipliers: list[Positive],
        attention: list[Count],
        blocks: Count = 2,
        head_width: Count = 64,
        scale_shift: bool = True,
        block_resampling: bool = True,
        dropout: Probability = 0.0,
        num_steps: Count = 1000,
        weights: str | None = None,
        joint_heads: bool = False,
    ) -> None:
        super().__init__()
        design = Design(
            type(self).__name__,
            size,
            width,
            multipliers,
            blocks,
            attention,
            None,
            head_width,
            scale_shift,
            block_resampling,
            dropout,
        )
        self.weights, self.joint_heads = weights, joint_heads
        self.time = StepEmbedding(width, num_steps)
        self.input_blocks, _ = design.way_down(channels)
        self.middle_block = design.middle()
        last = design.widths[-1]
        places = (size // 2 ** (len(design.widths) - 1)) ** 2
        pool = AttentionPool(last, places, num_classes, last // head_width)
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, last, EPS), nn.SiLU(), pool)

    def forward(self, x_t: Tensor, m: Marginal) -> Tensor:
        """[B, num_classes] of x_t, [B, C, H, W]."""
        time = self.time(m)
        for block in self.input_blocks:
            x_t = block(x_t, time)
        return self.out(self.middle_block(x_t, time))

    def fill(self, key: str) -> None:
        """Take in the weights that it was given, strictly; ``key`` is where the config has this network."""
        assert self.weights is not None
        fill(self, Path(self.weights).expanduser(), key, self.joint_heads)


class AttentionPool(nn.Module):
    """What the mean of all places, as a query, finds in them (Radford 2021, sec. 2.4), without a projection.

    Its parameters are called, and its queries, keys and values ordered, as in ADM's files.
    """

    def __init__(self, width: int, places: int, num_classes: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.randn(width, 1 + places) / width**0.5)
        self.qkv_proj = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, num_classes] of features, [B, C, H, W]."""
        tokens = x.flatten(2)
        tokens = torch.cat([tokens.mean(2, keepdim=True), tokens], dim=2) + self.positional_embedding
        joint = self.qkv_proj(tokens.transpose(1, 2)).unflatten(2, (3, self.heads, -1))  # [B, L, 3, heads, D]
        query, keys, values = joint.permute(2, 0, 3, 1, 4)
        found = scaled_dot_product_attention(query[:, :, :1], keys, values)  # [B, heads, 1, D]
        return self.c_proj(found.flatten(1))
