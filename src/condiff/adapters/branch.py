"""The trainable copy of a U-Net's encoder that sees a hint (Zhang 2023)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

# Of the network for a hint, at its own size and after each halving (Zhang 2023, sec. 3.2, as in cldm.py).
_WIDTHS = (16, 32, 96, 256)
_FIRST = "controlnet_cond_embedding.conv_in.weight"


class Branch(nn.Module):
    """A ControlNet: for each skip and for the middle of a U-Net what it adds there.

    ``net`` is diffusers' own network, whose files it reads and writes. Of a U-Net that sees patches of a
    picture it sees those of the hint: as many pixels a side as are left when it has halved all that it does.
    """

    def __init__(self, net: ControlNetModel) -> None:
        super().__init__()
        self.net = net

    @classmethod
    def of(cls, unet: UNet2DConditionModel, channels: int, stride: int, patch: int = 1) -> "Branch":
        """The copy as a training starts: key by key the encoder's weights, and zeros where it is joined.

        channels: of a hint. stride: how many of its pixels stand for one place of what the U-Net is given.
        patch: how many of these a side are folded into channels; the rest is halved away.
        """
        halvings = stride // patch
        if stride % patch or halvings & (halvings - 1):
            folded = f" in patches of {patch}" if patch > 1 else ""
            raise ValueError(
                f"a hint must be 1, 2, 4, ... times as large as what the U-Net sees{folded}, got"
                f" {stride / patch:g}"
            )
        first, count = patch.bit_length() - 1, halvings.bit_length()
        widths = (*_WIDTHS, *_WIDTHS[-1:] * (first + count))[first : first + count]
        return cls.shaped(unet, channels * patch**2, widths)

    @classmethod
    def shaped(cls, unet: UNet2DConditionModel, channels: int, widths: Sequence[int]) -> "Branch":
        """The same for what is seen of a hint, so many channels, by a network of these widths."""
        options = {"conditioning_embedding_out_channels": (*widths,), "conditioning_channels": channels}
        return cls(ControlNetModel.from_unet(unet, **options))

    def in_colours(self) -> "Branch":
        """The same for the three equal channels of a grey hint in colours; itself where it sees others."""
        if self.net.config["conditioning_channels"] != 1:
            return self
        return self._seeing(3, thirds(self.net.state_dict()[_FIRST]))

    def in_grey(self) -> "Branch":
        """What ``in_colours`` was made of, bit for bit; itself where it tells the colours apart."""
        weight = whole(self.net.state_dict()[_FIRST])
        return self if weight is None else self._seeing(1, weight)

    def _seeing(self, channels: int, weight: Tensor) -> "Branch":
        """A copy for hints of so many channels, with this weight of its first convolution."""
        net = cast(
            ControlNetModel,
            ControlNetModel.from_config({**self.net.config, "conditioning_channels": channels}),
        )
        net.load_state_dict({**self.net.state_dict(), _FIRST: weight}, strict=True)
        return Branch(net.train(self.training))

    @property
    def num(self) -> int:
        """How many tensors it gives."""
        return len(self.net.controlnet_down_blocks) + 1

    @property
    def halvings(self) -> int:
        """How often it halves a hint."""
        return len(cast(tuple[int, ...], self.net.config["conditioning_embedding_out_channels"])) - 1

    @property
    def pools(self) -> bool:
        """Whether what it adds are means over all places, which its net then takes by itself."""
        return bool(self.net.config["global_pool_conditions"])

    def channels(self, patch: int = 1) -> int:
        """Of the hints that it is for, of which it sees patches of so many pixels a side."""
        return cast(int, self.net.config["conditioning_channels"]) // patch**2

    def forward(self, hint: Tensor, args: tuple[Any, ...], told: Mapping[str, Any]) -> list[Tensor]:
        """What is added to the skips, from the first, and last to the middle.

        hint: [B, C, H, W] in [0, 1]. args, told: what the U-Net is called with, all of which it hears, too.
        """
        told, hint = dict(told), self._folded(hint, args[0].shape[-1])
        mask = told.pop("encoder_attention_mask", None)
        with _masked(self.net, mask):
            found = self.net(*args, controlnet_cond=hint, **told)
        return [*found.down_block_res_samples, found.mid_block_res_sample]

    def _folded(self, hint: Tensor, seen: int) -> Tensor:
        """A hint in patches, for a U-Net that sees so many places a side.

        A grey one has equal channels; where grey ones are seen, of one in colours it is the mean of them.
        """
        patch = max(1, hint.shape[-1] // (seen << self.halvings))
        channels = self.channels(patch)
        grey = hint.mean(1, keepdim=True) if channels == 1 else hint
        return pixel_unshuffle(grey.expand(-1, channels, -1, -1), patch)


def thirds(weight: Tensor) -> Tensor:
    """[D, 3, H, W] for three equal channels, of [D, 1, H, W] for one of them.

    The last third is what the other two leave, which no rounding touches: their sum is the weight.
    """
    third = weight / 3
    return torch.cat([third, third, weight - 2 * third], 1)


def whole(weight: Tensor) -> Tensor | None:
    """What ``thirds`` were made of; None of a weight that is no thirds, or that has no values."""
    if weight.shape[1] != 3 or weight.is_meta:
        return None
    one, other, last = weight.split(1, 1)
    alike = torch.equal(one, other) and torch.allclose(last, one, rtol=1e-6, atol=1e-37)
    return one + other + last if alike else None


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
