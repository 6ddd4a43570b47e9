"""ADM's U-Net (Dhariwal & Nichol 2021), which its published weights fit."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from condiff.diffusion.condition import Condition
from condiff.diffusion.process import Marginal
from condiff.networks.adm_blocks import EPS, GROUPS, TIME_WIDTHS, Design, StepEmbedding, silence
from condiff.networks.adm_weights import fill
from condiff.networks.attention import PerturbedSelfAttention
from condiff.ranges import Count, Natural, Positive, Probability, checked


class ADM(nn.Module):
    """Backbone: ADM's U-Net. The class is added to the embedding of the time; ``num_labels`` 0 has none.

    It is told which step of a chain of ``num_steps`` it is at. A picture that the condition stacks under x_t
    may be smaller: it is first brought to the size of x_t, bilinearly, as ADM's upsamplers do (sec. 4.2).

    weights: a file in the layout of ADM's published ones, which ``fill`` takes in. ``joint_heads`` says that
    there the queries of all heads come first, then all keys, then all values (use_new_attention_order).
    """

    needs_chain: ClassVar[bool] = True

    @checked
    def __init__(
        self,
        channels: Count,
        num_labels: Natural,
        size: Count,
        width: Count,
        multipliers: list[Positive],
        attention: list[Count],
        blocks: Count = 2,
        heads: Count | None = None,
        head_width: Count | None = 64,
        scale_shift: bool = True,
        block_resampling: bool = True,
        dropout: Probability = 0.0,
        learned_variance: bool = True,
        num_steps: Count = 1000,
        concat_channels: Natural = 0,
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
            heads,
            head_width,
            scale_shift,
            block_resampling,
            dropout,
        )
        self.weights, self.joint_heads = weights, joint_heads
        self.time = StepEmbedding(width, num_steps)
        self.label_emb = nn.Embedding(num_labels, TIME_WIDTHS * width) if num_labels else None
        self.input_blocks, left = design.way_down(channels + concat_channels)
        self.middle_block = design.middle()
        self.output_blocks = design.way_up(left)
        answered = 2 * channels if learned_variance else channels
        last = nn.Conv2d(design.widths[0], answered, 3, padding=1)
        silence(last)
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, design.widths[0], EPS), nn.SiLU(), last)

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        """x, [B, C, H, W]; the answer has the same shape, or 2 C channels with a learned variance."""
        told = self.time(m)
        if self.label_emb is not None:
            if cond.label is None:
                raise ValueError("ADM was built for labels and got none; use conditioner=label")
            told = told + self.label_emb(cond.label)
        x, left = _stacked(x, cond), []
        for block in self.input_blocks:
            x = block(x, told)
            left.append(x)
        x = self.middle_block(x, told)
        for block in self.output_blocks:
            x = block(torch.cat([x, left.pop()], dim=1), told)
        return self.out(x)

    def perturbed(self, layers: Sequence[str]) -> nn.Module:
        """The same network with some of its self-attention perturbed."""
        return PerturbedSelfAttention(self, layers)

    def fill(self, key: str) -> None:
        """Take in the weights that it was given, strictly; ``key`` is where the config has this network."""
        assert self.weights is not None
        fill(self, Path(self.weights).expanduser(), key, self.joint_heads)


def _stacked(x: Tensor, cond: Condition) -> Tensor:
    if cond.concat is None:
        return x
    under = cond.concat.to(x.dtype)
    if under.shape[2:] != x.shape[2:]:
        under = interpolate(under, x.shape[2:], mode="bilinear")
    return torch.cat([x, under], dim=1)
