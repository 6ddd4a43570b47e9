"""A U-Net of diffusers that others have trained, used as it is."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from condiff.diffusion.condition import Condition
from condiff.diffusion.process import Marginal
from condiff.files import write_json
from condiff.model_folders import CONFIG
from condiff.networks.adm_blocks import step_of
from condiff.networks.attention import PerturbedSelfAttention
from condiff.networks.pretrained_settings import U_NETS, read_settings
from condiff.networks.unet import stacked
from condiff.ranges import Count, Natural, checked
from condiff.weight_files import current, misfit, read_tensors

log = logging.getLogger(__name__)
_MAKES = {"UNet2DConditionModel": UNet2DConditionModel, "UNet2DModel": UNet2DModel}


class Pretrained(nn.Module):
    """Backbone: a U-Net of diffusers whose shape its config.json says and whose weights ``fill`` takes in.

    It is told which step of a chain of ``num_steps`` it is at, as it was in its training.

    weights: a folder, or owner/name of a model on the hub, which must lie in its local cache by now.
    """

    needs_chain: ClassVar[bool] = True
    takes_folder: ClassVar[bool] = True
    attends: ClassVar[bool] = True  # where its class in diffusers does

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
            self.files = U_NETS.found(weights)
            config = str(self.files.folder / CONFIG)
            kind, settings = read_settings(self.files.config, config)
            _check(settings, config, channels, concat_channels, size)
            self.width = settings.get("cross_attention_dim")  # of tokens, where it attends to any
            self.is_told = _is_told(settings, config, num_labels)
            _check_text(self.width, config, text_width)
            self.net = _made(kind, settings, config).requires_grad_(False)
        except ValueError as error:
            raise ValueError(f"Pretrained.weights: {error}") from error
        self.num_steps = num_steps
        usual = self.files.config.get("sample_size")
        if isinstance(usual, int) and usual != size:
            log.info("%s: was trained on %d x %d, and is used on %d x %d", config, usual, usual, size, size)

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        """x, [B, C, H, W]; the answer has the same shape, or 2 C channels with a learned variance."""
        step, label = step_of(m, self.num_steps), cond.label if self.is_told else None
        if self.width is None:
            return self.net(stacked(x, cond), step, class_labels=label).sample
        if cond.tokens is None:
            raise ValueError("Pretrained needs tokens to attend to, and got none; use a conditioner of text")
        told = {"class_labels": label, "encoder_attention_mask": cond.token_mask}
        return self.net(stacked(x, cond), step, cond.tokens, **told).sample

    def perturbed(self, layers: Sequence[str]) -> nn.Module:
        """The same network with some of its self-attention perturbed."""
        return PerturbedSelfAttention(self, layers)

    def fill(self, key: str) -> None:
        """Take in the published weights, strictly; ``key`` is where the config has this network."""
        given = {current(name): tensor for name, tensor in read_tensors(self.files.weights, key).items()}
        wrong = misfit(self.net.state_dict(), given)
        if wrong:
            raise ValueError(
                f"{key}.weights: {self.files.weights[0]} does not fit the {type(self.net).__name__} of its"
                f" {CONFIG}: {wrong}; the two must be of one model"
            )
        self.net.load_state_dict(given, strict=True)

    def leave(self, out: Path) -> None:
        """Write what says its shape: an artifact with its weights needs no other file."""
        write_json(out / CONFIG, self.files.config)


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


def _made(kind: str, settings: Mapping[str, Any], config: str) -> nn.Module:
    """The network, its weights at random; ValueError in one line where diffusers refuses its settings."""
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    try:
        return _MAKES[kind](**lists)
    except (ValueError, TypeError, NotImplementedError, KeyError, IndexError, AttributeError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{config}: makes no {kind} ({said})") from error
