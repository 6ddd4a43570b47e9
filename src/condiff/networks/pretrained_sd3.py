"""The transformer of Stable Diffusion 3 that others have trained, used as it is."""

from collections.abc import Mapping
from typing import Any, ClassVar

from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from torch import Tensor, nn

from condiff.diffusion.condition import Condition
from condiff.diffusion.process import Marginal
from condiff.networks.published import Published
from condiff.ranges import Count, Natural, checked

_STEPS = 1000  # what the time of a flow is multiplied by for its embedding: diffusers' num_train_timesteps


class PretrainedSD3(Published):
    """Backbone: a transformer of pictures and texts (Esser 2024, sec. 4) whose shape its config.json says.

    It attends to every token, also to those that only fill a text up, as its pipeline does, which gives it no
    mask; so a ``token_mask`` changes nothing. Of conditioner=text_sd3 all tokens count.

    weights: a folder, or owner/name of a model on the hub, which must lie in its local cache by now.
    """

    needs_flow: ClassVar[bool] = True
    attends: ClassVar[bool] = True
    hears_pooled: ClassVar[bool] = True
    part: ClassVar[str] = "transformer"  # of a pipeline
    makes: ClassVar[Mapping[str, type[nn.Module]]] = {"SD3Transformer2DModel": SD3Transformer2DModel}

    @checked
    def __init__(
        self,
        channels: Count,
        num_labels: Natural,
        size: Count,
        weights: str,
        concat_channels: Natural = 0,
        text_width: Natural = 0,
        pooled_width: Natural = 0,
    ) -> None:
        super().__init__()
        try:
            kind, settings, config = self.found(weights)
            _check(settings, config, channels, size, text_width, pooled_width)
            if num_labels or concat_channels:
                raise ValueError(f"{config}: hears text alone; use conditioner=text_sd3")
            self.net = self.made(kind, settings, config).requires_grad_(False)
        except ValueError as error:
            raise ValueError(f"PretrainedSD3.weights: {error}") from error

    def forward(self, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
        """x, [B, C, H, W]; the answer has the same shape."""
        if cond.tokens is None or cond.pooled is None:
            raise ValueError("PretrainedSD3 needs tokens and a pooled text; use conditioner=text_sd3")
        time = (_STEPS * m.t).flatten().expand(len(x))
        return self.net(x, cond.tokens, cond.pooled, time).sample


def _check(
    settings: Mapping[str, Any], config: str, channels: int, size: int, text_width: int, pooled_width: int
) -> None:
    for key, wanted, what in (
        ("in_channels", channels, "channels of x_t"),
        ("out_channels", channels, "channels of x_t"),
        ("joint_attention_dim", text_width, "numbers of a token of the text encoder"),
        ("pooled_projection_dim", pooled_width, "numbers of its pooled text"),
    ):
        if wanted and settings[key] != wanted:
            raise ValueError(
                f"{config}: {key} must be the {wanted} {what}, got {settings[key]}; use the first stage and"
                " the text encoders of its pipeline"
            )
    patch, most = settings["patch_size"], settings["pos_embed_max_size"]
    if size % patch or size > patch * most:
        raise ValueError(
            f"{config}: needs a latent that is a multiple of {patch} and at most {patch * most} a side, got"
            f" {size}"
        )
