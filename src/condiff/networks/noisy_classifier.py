"""A classifier of noisy images: the encoder half of a U-Net, and attention pooling over its last features."""

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.unets.unet_2d_blocks import UNetMidBlock2D, get_down_block
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from condiff.diffusion.process import Marginal
from condiff.networks.classifier import ImageClassifier
from condiff.networks.unet import check_levels
from condiff.ranges import Count, Probability, checked

EPS = 1e-5  # of the group norms, as in diffusers' UNet2DModel


class HalfUNet(ImageClassifier):
    """Logits of p(label | x_t), told the noise level as the U-Nets are (Dhariwal & Nichol 2021, sec. 4).

    x_t is brought to unit size first, x_t / sqrt(alpha^2 + sigma^2): on a variance-preserving process it is
    left as it is, and on the others a network sees no sigma of 80. Squares of ``patch`` x ``patch`` pixels
    are folded into channels, as in ``UNet``.
    """

    @checked
    def __init__(
        self,
        channels: Count,
        num_classes: Count,
        size: Count,
        widths: list[int],
        attention: list[bool],
        blocks: Count = 1,
        head_width: Count = 16,
        norm_groups: Count = 8,
        dropout: Probability = 0.0,
        patch: Count = 1,
    ) -> None:
        super().__init__()
        check_levels(type(self).__name__, widths, attention, head_width, norm_groups, size, patch)
        self.patch = patch
        time_width, last = 4 * widths[0], widths[-1]
        self.angle = Timesteps(widths[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = TimestepEmbedding(widths[0], time_width)
        self.first = nn.Conv2d(channels * patch**2, widths[0], 3, padding=1)
        shared = {
            "temb_channels": time_width,
            "resnet_eps": EPS,
            "resnet_act_fn": "silu",
            "resnet_groups": norm_groups,
            "resnet_time_scale_shift": "scale_shift",
            "attention_head_dim": head_width,
            "dropout": dropout,
        }
        self.levels = nn.ModuleList(
            get_down_block(
                "AttnDownBlock2D" if attends else "DownBlock2D",
                num_layers=blocks,
                in_channels=narrow,
                out_channels=wide,
                add_downsample=place + 1 < len(widths),
                downsample_padding=1,
                **shared,
            )
            for place, (narrow, wide, attends) in enumerate(
                zip([widths[0], *widths], widths, attention, strict=False)
            )
        )
        self.middle = UNetMidBlock2D(in_channels=last, **shared)
        self.norm = nn.Sequential(nn.GroupNorm(norm_groups, last), nn.SiLU())
        places = (size // patch // 2 ** (len(widths) - 1)) ** 2
        self.pool = AttentionPool(last, places, num_classes, max(1, last // head_width))

    def forward(self, x_t: Tensor, m: Marginal) -> Tensor:
        """[B, num_classes] of x_t, [B, C, H, W]."""
        size = (m.alpha**2 + m.sigma**2).sqrt()
        time = self.time(self.angle(1000 * m.angle.flatten()).to(x_t.dtype))
        x = self.first(pixel_unshuffle(x_t / size, self.patch))
        for level in self.levels:
            x, _ = level(x, time)
        return self.pool(self.norm(self.middle(x, time)))


class AttentionPool(nn.Module):
    """What the mean of all places, as a query, finds in them (Radford 2021, sec. 2.4); then a linear head."""

    def __init__(self, width: int, places: int, num_classes: int, heads: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(1 + places, width) / width**0.5)
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, num_classes] of features, [B, C, H, W]."""
        tokens = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1) + self.place
        found, _ = self.attend(tokens[:, :1], tokens, tokens, need_weights=False)
        return self.head(found[:, 0])
