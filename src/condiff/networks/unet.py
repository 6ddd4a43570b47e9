"""diffusers' U-Nets behind one call: (x, m, cond) -> tensor.

Both are told the time as the angle of the noise level (``Marginal.angle`` in [0, 1]), times 1000:
the same for every process, and equal to t under the cosine schedule.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_shuffle, pixel_unshuffle

from condiff.diffusion.condition import Condition
from condiff.diffusion.process import Marginal
from condiff.networks.attention import PerturbedSelfAttention
from condiff.ranges import Count, Natural, Probability, checked


class UNet(nn.Module):
    """Backbone: a U-Net with class labels added to its time embedding (diffusers ``UNet2DModel``).

    Squares of ``patch`` x ``patch`` pixels are folded into channels: patch 4 makes a picture of 32 pixels 8
    places wide, which a CPU can afford. With ``num_labels`` 0 it is told no label.
    """

    @checked
    def __init__(
        self,
        channels: Count,
        num_labels: Natural,
        size: Count,
        widths: list[int],
        attention: list[bool],
        blocks: Count = 1,
        head_width: Count = 16,
        norm_groups: Count = 8,
        dropout: Probability = 0.0,
        learned_variance: bool = False,
        concat_channels: Natural = 0,
        patch: Count = 1,
    ) -> None:
        super().__init__()
        check_levels(type(self).__name__, widths, attention, head_width, norm_groups, size, patch)
        self.patch, self.is_told = patch, num_labels > 0
        self.net = _UNet2D(
            sample_size=size // patch,
            in_channels=(channels + concat_channels) * patch**2,
            out_channels=_answered(channels, learned_variance) * patch**2,
            block_out_channels=tuple(widths),
            layers_per_block=blocks,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attention),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)),
            attention_head_dim=head_width,
            norm_num_groups=norm_groups,
            num_class_embeds=num_labels or None,
            resnet_time_scale_shift="scale_shift",  # time and class scale the features too (Dhariwal 2021)
            dropout=dropout,
        )
        unheard(self.net.conv_in, concat_channels * patch**2)

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        """x, [B, C, H, W]; the answer has the same shape, or 2 C channels with a learned variance."""
        label, folded = cond.label if self.is_told else None, pixel_unshuffle(stacked(x, cond), self.patch)
        return pixel_shuffle(
            self.net(folded, 1000 * m.angle.flatten(), class_labels=label).sample, self.patch
        )

    def perturbed(self, layers: Sequence[str]) -> nn.Module:
        """The same network with some of its self-attention perturbed."""
        return PerturbedSelfAttention(self, layers)


class _UNet2D(UNet2DModel):
    """Knows its type without a walk over all its modules, which diffusers takes twice in every call."""

    @property
    def dtype(self) -> torch.dtype:
        return self.conv_in.weight.dtype


class CrossAttentionUNet(nn.Module):
    """Backbone: a U-Net that attends to tokens (diffusers ``UNet2DConditionModel``).

    A study of labels alone gets one learned token for each label. Tokens of text are as wide as their encoder
    makes them, ``text_width``, and a label's token is then as wide as they are. ``patch`` is as for ``UNet``.
    With a ``text_map`` it hears the text's pooled vector, [B, ``pooled_width``], too: beside the time and as
    a map of so many channels under x_t, the same at all noise levels. By that a small network learns within
    minutes what to draw and where, for which attention alone needs many times as long.
    """

    needs_condition: ClassVar[bool] = True
    attends: ClassVar[bool] = True  # to tokens, such as those of a text
    hears_pooled: ClassVar[bool] = True  # where it has a map of a text

    @checked
    def __init__(
        self,
        channels: Count,
        num_labels: Natural,
        size: Count,
        widths: list[int],
        attention: list[bool],
        blocks: Count = 1,
        head_width: Count = 16,
        norm_groups: Count = 8,
        token_width: Count = 64,
        dropout: Probability = 0.0,
        learned_variance: bool = False,
        concat_channels: Natural = 0,
        text_width: Natural = 0,
        patch: Count = 1,
        text_map: Natural = 0,
        pooled_width: Natural = 0,
    ) -> None:
        super().__init__()
        check_levels(type(self).__name__, widths, attention, head_width, norm_groups, size, patch)
        self.patch = patch
        if text_map and not pooled_width:
            raise ValueError(f"{type(self).__name__}.text_map: there is no text to map; use text_map=0")
        self.text_map = TextMap(pooled_width, text_map, size // patch) if text_map else None
        told = {"class_embed_type": "projection", "projection_class_embeddings_input_dim": pooled_width}
        token_width = text_width or token_width
        self.label_tokens = nn.Embedding(num_labels, token_width) if num_labels else None
        self.net = UNet2DConditionModel(
            sample_size=size // patch,
            in_channels=(channels + concat_channels) * patch**2 + text_map,
            out_channels=_answered(channels, learned_variance) * patch**2,
            block_out_channels=tuple(widths),
            layers_per_block=blocks,
            down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attention),
            mid_block_type="UNetMidBlock2DCrossAttn",
            up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)),
            # diffusers reads this as the number of heads in these blocks
            attention_head_dim=tuple(max(1, w // head_width) for w in widths),  # pyright: ignore[reportArgumentType]
            norm_num_groups=norm_groups,
            cross_attention_dim=token_width,
            dropout=dropout,
            resnet_time_scale_shift="scale_shift" if text_map else "default",
            **(told if text_map else {}),
        )
        unheard(self.net.conv_in, concat_channels * patch**2)

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        """x, [B, C, H, W]; the answer has the same shape, or 2 C channels with a learned variance."""
        tokens, mask = attended(self.label_tokens, cond, type(self).__name__)
        time, folded = 1000 * m.angle.flatten(), pixel_unshuffle(stacked(x, cond), self.patch)
        pooled = None
        if self.text_map is not None:
            assert cond.pooled is not None
            pooled = cond.pooled.to(folded.dtype)  # its map in front: what ``unheard`` is about comes last
            folded = torch.cat([self.text_map(pooled), folded], dim=1)
        answer = self.net(folded, time, tokens, class_labels=pooled, encoder_attention_mask=mask).sample
        return pixel_shuffle(answer, self.patch)

    def perturbed(self, layers: Sequence[str]) -> nn.Module:
        """The same network with some of its self-attention perturbed."""
        return PerturbedSelfAttention(self, layers)


class TextMap(nn.Module):
    """A pooled vector, [B, P], as a picture, [B, ``channels``, ``side``, ``side``]."""

    def __init__(self, width: int, channels: int, side: int) -> None:
        super().__init__()
        self.shape = (channels, side, side)
        self.linear = nn.Linear(width, channels * side**2)

    def forward(self, pooled: Tensor) -> Tensor:
        return self.linear(pooled).unflatten(1, self.shape)


def attended(label_tokens: nn.Module | None, cond: Condition, network: str) -> tuple[Tensor, Tensor | None]:
    """What a network attends to, [B, L, D], and which of it counts, [B, L]: a label's token always does."""
    if label_tokens is None or cond.label is None:
        if cond.tokens is None:
            raise ValueError(f"{network} needs tokens or labels to attend to, and got neither")
        return cond.tokens, cond.token_mask
    own, mask = label_tokens(cond.label)[:, None], cond.token_mask
    if cond.tokens is None:
        return own, None
    return torch.cat([cond.tokens, own], dim=1), None if mask is None else pad(mask, (0, 1), value=True)


def unheard(conv: nn.Conv2d, channels: int) -> None:
    """Let the last inputs of a first convolution begin without effect (Brooks 2023, sec. 3.2)."""
    if channels:
        with torch.no_grad():
            conv.weight[:, -channels:].zero_()


def stacked(x: Tensor, cond: Condition) -> Tensor:
    """x, [B, C, H, W], with what the condition stacks under it."""
    return x if cond.concat is None else torch.cat([x, cond.concat.to(x.dtype)], dim=1)


def _answered(channels: int, learned_variance: bool) -> int:
    """The second half says how wide a step's noise is (Nichol 2021, sec. 3.1)."""
    return 2 * channels if learned_variance else channels


def check_levels(
    name: str,
    widths: list[int],
    attention: list[bool],
    head_width: int,
    norm_groups: int,
    size: int,
    patch: int = 1,
) -> None:
    """What diffusers would answer with a shape error deep inside."""
    if len(widths) != len(attention):
        raise ValueError(
            f"{name}.attention must say yes or no for each of the {len(widths)} widths, got {len(attention)}"
        )
    if any(width % norm_groups for width in widths):
        raise ValueError(f"{name}.widths must be multiples of norm_groups={norm_groups}, got {widths}")
    attended = [*(width for width, attends in zip(widths, attention, strict=True) if attends), widths[-1]]
    if min(attended) < head_width:
        raise ValueError(
            f"{name}.head_width: must be at most {min(attended)}, a width that attends, got {head_width}"
        )
    factor = patch * 2 ** (len(widths) - 1)
    if size % factor:
        patches = f" on patches of {patch}" if patch > 1 else ""
        raise ValueError(
            f"{name}.widths: {len(widths)} of them{patches} need a size that is a multiple of {factor},"
            f" got {size}"
        )
