"""A U-Net of diffusers that others have trained, used as it is."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from condiff.diffusion.condition import Condition
from condiff.diffusion.process import Marginal
from condiff.networks.adm_blocks import step_of
from condiff.networks.attention import PerturbedSelfAttention
from condiff.networks.published import Published
from condiff.networks.unet import stacked
from condiff.ranges import Count, Natural, checked

log = logging.getLogger(__name__)


class Pretrained(Published):
    """Backbone: a U-Net of diffusers whose shape its config.json says and whose weights ``fill`` takes in.

    It is told which step of a chain of ``num_steps`` it is at, as it was in its training.

    weights: a folder, or owner/name of a model on the hub, which must lie in its local cache by now.
    """

    needs_chain: ClassVar[bool] = True
    attends: ClassVar[bool] = True  # where its class in diffusers does
    makes: ClassVar[Mapping[str, type[nn.Module]]] = {
        "UNet2DConditionModel": UNet2DConditionModel,
        "UNet2DModel": UNet2DModel,
    }

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
    ) -> None:
        super().__init__()
        try:
            kind, settings, config = self.found(weights)
            _check(settings, config, channels, concat_channels, size)
            self.check_added(settings, config)
            self.width = settings.get("cross_attention_dim")  # of tokens, where it attends to any
            self.is_told = _is_told(settings, config, num_labels)
            _check_text(self.width, config, text_width)
            self.net = self.made(kind, settings, config).requires_grad_(False)
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}.weights: {error}") from error
        self.num_steps = num_steps
        usual = self.files.config.get("sample_size")
        if isinstance(usual, int) and usual != size:
            log.info("%s: was trained on %d x %d, and is used on %d x %d", config, usual, usual, size, size)

    def check_added(self, settings: Mapping[str, Any], config: str) -> None:
        """ValueError where the network is to be told what it is not here."""
        added = settings.get("addition_embed_type")
        if added is not None:
            raise ValueError(
                f"{config}: addition_embed_type must be None, got {added}; SDXL's text_time is given by"
                " network=pretrained_xl"
            )

    def added(self, x: Tensor, cond: Condition) -> dict[str, Any]:
        """What the network is told of samples besides, as its class calls it."""
        return {}

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        """x, [B, C, H, W]; the answer has the same shape, or 2 C channels with a learned variance."""
        step, label = step_of(m, self.num_steps), cond.label if self.is_told else None
        if self.width is None:
            return self.net(stacked(x, cond), step, class_labels=label).sample
        if cond.tokens is None:
            raise ValueError("Pretrained needs tokens to attend to, and got none; use a conditioner of text")
        told = {"class_labels": label, "encoder_attention_mask": cond.token_mask, **self.added(x, cond)}
        return self.net(stacked(x, cond), step, cond.tokens, **told).sample

    def perturbed(self, layers: Sequence[str]) -> nn.Module:
        """The same network with some of its self-attention perturbed."""
        return PerturbedSelfAttention(self, layers)


def _check(settings: Mapping[str, Any], config: str, channels: int, under: int, size: int) -> None:
    if settings["in_channels"] != channels + under:
        more = f" and {under} that the condition stacks under them" if under else ""
        raise ValueError(
            f"{config}: in_channels must be the {channels} of x_t{more}, got {settings['in_channels']}; use"
            " the first stage and the conditioner that it was trained with"
        )
    if settings["out_channels"] not in (channels, 2 * channels):
        raise ValueError(f"{config}: out_channels must be {channels}, got {settings['out_channels']}")
    factor = 2 ** (len(settings["block_out_channels"]) - 1)
    if size % factor:
        raise ValueError(f"{config}: needs a size that is a multiple of {factor}, got {size}")


def _check_text(width: int | None, config: str, text_width: int) -> None:
    """ValueError where tokens of text are not those of its training, or are looked at by nothing."""
    if text_width and width is None:
        raise ValueError(f"{config}: has no attention to text; use conditioner=label or none")
    if text_width and text_width != width:
        raise ValueError(
            f"{config}: cross_attention_dim must be the width {text_width} of the text encoder, got {width};"
            " use the encoder that it was trained with"
        )


def _is_told(settings: Mapping[str, Any], config: str, num_labels: int) -> bool:
    """Whether the network is told a label; ValueError where labels and its table differ."""
    rows = settings.get("num_class_embeds")
    if rows == num_labels or (not rows and not num_labels):
        return bool(rows)
    if not rows:
        instead = "text_clip" if settings.get("cross_attention_dim") else "none"
        raise ValueError(f"{config}: has no place for the {num_labels} labels; use conditioner={instead}")
    raise ValueError(
        f"{config}: num_class_embeds must be the {num_labels} labels of the study, the null among them where"
        f" method.drop_condition > 0, got {rows}"
    )
