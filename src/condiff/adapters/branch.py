"""The trainable copy of a U-Net's encoder that sees a hint (Zhang 2023)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

# Of the network for a hint, at its own size and after each halving (Zhang 2023, sec. 3.2, as in cldm.py).
_WIDTHS = (16, 32, 96, 256)


class Branch(nn.Module):
    """A ControlNet: for each skip and for the middle of a U-Net what it adds there.

    ``net`` is diffusers' own network, whose files it reads and writes.
    """

    def __init__(self, net: ControlNetModel) -> None:
        super().__init__()
        self.net = net

    @classmethod
    def of(cls, unet: UNet2DConditionModel, channels: int, stride: int) -> "Branch":
        """The copy as a training starts: key by key the encoder's weights, and zeros where it is joined.

        channels: of a hint. stride: how many of its pixels stand for one place of what the U-Net is given.
        """
        if stride < 1 or stride & (stride - 1):
            raise ValueError(
                f"a hint must be 1, 2, 4, ... times as large as what the U-Net sees, got {stride}"
            )
        halvings = stride.bit_length() - 1
        widths = (*_WIDTHS, *_WIDTHS[-1:] * halvings)[: halvings + 1]
        return cls(
            ControlNetModel.from_unet(
                unet, conditioning_embedding_out_channels=widths, conditioning_channels=channels
            )
        )

    @property
    def num(self) -> int:
        """How many tensors it gives."""
        return len(self.net.controlnet_down_blocks) + 1

    @property
    def channels(self) -> int:
        """Of a hint."""
        return cast(int, self.net.config["conditioning_channels"])

    def forward(self, hint: Tensor, args: tuple[Any, ...], told: Mapping[str, Any]) -> list[Tensor]:
        """What is added to the skips, from the first, and last to the middle.

        hint: [B, C, H, W] in [0, 1]. args, told: what the U-Net is called with, all of which it hears, too.
        """
        told, hint = dict(told), hint.expand(-1, self.channels, -1, -1)  # a grey one has equal channels
        mask = told.pop("encoder_attention_mask", None)
        with _masked(self.net, mask):
            found = self.net(*args, controlnet_cond=hint, **told)
        return [*found.down_block_res_samples, found.mid_block_res_sample]


@contextmanager
def _masked(net: nn.Module, mask: Tensor | None) -> Iterator[None]:
    """Its attention to tokens looks at those that count, [B, L]: diffusers' network has no word for that."""
    if mask is None:
        yield
        return

    def hide(
        _: nn.Module, args: tuple[Any, ...], told: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        hidden = (1 - mask.to(told["encoder_hidden_states"].dtype)) * -10000.0  # as its U-Nets do it
        return args, {**told, "encoder_attention_mask": hidden.unsqueeze(1)}

    blocks = [block for block in net.modules() if getattr(block, "has_cross_attention", False)]
    hooks = [block.register_forward_pre_hook(hide, with_kwargs=True) for block in blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
