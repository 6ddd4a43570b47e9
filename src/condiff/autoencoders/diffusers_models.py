"""diffusers' autoencoders: those of Rombach 2022, with the names that published files have, and a small one.

Latents are as the encoder gives them: none of the published scaling factors stands here, as ``LatentSpace``
alone normalises.
"""

from abc import ABC
from typing import Any

import torch
from diffusers.models.autoencoders.vae import Decoder, DecoderTiny, Encoder, EncoderTiny
from torch import Tensor, nn

from condiff.autoencoders.codebook import Codebook
from condiff.autoencoders.quantizer import Quantising, fitting
from condiff.autoencoders.space import Autoencoder, certain
from condiff.ranges import Count, Natural, checked


class DiffusersLevels(Autoencoder, ABC):
    """Residual blocks at every level, halved between them, and self-attention at the coarsest.

    widths: channels of each level, finest first, each a multiple of ``norm_groups``.
    attention: which of these levels attend, too.
    blocks: residual blocks of a level of the encoder; the decoder has one more.
    middle_attention: whether the coarsest level attends between its last blocks.
    """

    def __init__(
        self,
        channels: int,
        latent_channels: int,
        widths: list[int],
        attention: list[bool],
        blocks: int,
        norm_groups: int,
        middle_attention: bool,
        inner_channels: int,
        is_gaussian: bool,
        norm: str = "group",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if len(attention) != len(widths):
            raise ValueError(
                f"{name}.attention must say true or false for each of the widths {widths}, got {attention}"
            )
        if any(width % norm_groups for width in widths):
            raise ValueError(f"{name}.widths must be multiples of norm_groups={norm_groups}, got {widths}")
        self.channels, self.latent_channels = channels, latent_channels
        self.downsampling = 2 ** (len(widths) - 1)
        self.blocks, self.norm_groups, self.middle_attention = blocks, norm_groups, middle_attention
        self.widths, self.attention = widths, attention
        down = ["AttnDownEncoderBlock2D" if attends else "DownEncoderBlock2D" for attends in attention]
        up = ["AttnUpDecoderBlock2D" if attends else "UpDecoderBlock2D" for attends in attention[::-1]]
        self.encoder = Encoder(
            in_channels=channels,
            out_channels=inner_channels,
            down_block_types=tuple(down),
            block_out_channels=tuple(widths),
            layers_per_block=blocks,
            norm_num_groups=norm_groups,
            double_z=is_gaussian,
            mid_block_add_attention=middle_attention,
        )
        self.decoder = Decoder(
            in_channels=inner_channels,
            out_channels=channels,
            up_block_types=tuple(up),
            block_out_channels=tuple(widths),
            layers_per_block=blocks,
            norm_num_groups=norm_groups,
            norm_type=norm,
            mid_block_add_attention=middle_attention,
        )

    @property
    def last(self) -> Tensor:
        return self.decoder.conv_out.weight


class DiffusersKL(DiffusersLevels):
    """With a Gaussian latent, whose log variance is clipped to [-30, 20].

    quant_conv, post_quant_conv: whether a convolution of size 1 ends the encoder and begins the decoder.
    """

    @checked
    def __init__(
        self,
        channels: Count,
        widths: list[Count],
        attention: list[bool],
        latent_channels: Count = 4,
        blocks: Count = 2,
        norm_groups: Count = 32,
        middle_attention: bool = True,
        quant_conv: bool = True,
        post_quant_conv: bool = True,
    ) -> None:
        shape = (channels, latent_channels, widths, attention, blocks, norm_groups, middle_attention)
        super().__init__(*shape, inner_channels=latent_channels, is_gaussian=True)
        moments = 2 * latent_channels
        self.quant_conv = nn.Conv2d(moments, moments, 1) if quant_conv else nn.Identity()
        self.post_quant_conv = (
            nn.Conv2d(latent_channels, latent_channels, 1) if post_quant_conv else nn.Identity()
        )

    @property
    def config(self) -> dict[str, Any]:
        """Of the ``AutoencoderKL`` that it is in diffusers, but for what is said of latents."""
        down, up = (
            ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
            ("UpDecoderBlock2D", "AttnUpDecoderBlock2D"),
        )
        return {
            "in_channels": self.channels,
            "out_channels": self.channels,
            "down_block_types": [down[attends] for attends in self.attention],
            "up_block_types": [up[attends] for attends in self.attention[::-1]],
            "block_out_channels": [*self.widths],
            "layers_per_block": self.blocks,
            "norm_num_groups": self.norm_groups,
            "latent_channels": self.latent_channels,
            "mid_block_add_attention": self.middle_attention,
        }

    def exportable(self) -> Autoencoder | None:
        return self

    def encode(self, images: Tensor) -> Tensor:
        mean, log_variance = self.quant_conv(self.encoder(images)).chunk(2, dim=1)
        return torch.cat([mean, log_variance.clamp(-30, 20)], dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(latents))


class DiffusersVQ(DiffusersLevels, Quantising):
    """With a codebook.

    inner_channels: of encoder and decoder, which convolutions of size 1 bring to those of a code and back;
        None gives as many as a code has.
    spatial_norm: whether the decoder's norms are scaled by the codes at each place (Zheng 2022, MoVQ, eq. 4).
    """

    @checked
    def __init__(
        self,
        channels: Count,
        codebook: Codebook,
        widths: list[Count],
        attention: list[bool],
        latent_channels: Count = 3,
        blocks: Count = 2,
        norm_groups: Count = 32,
        middle_attention: bool = True,
        inner_channels: Count | None = None,
        spatial_norm: bool = False,
    ) -> None:
        inner = latent_channels if inner_channels is None else inner_channels
        shape = (channels, latent_channels, widths, attention, blocks, norm_groups, middle_attention)
        if spatial_norm and inner != latent_channels:
            raise ValueError(
                f"DiffusersVQ.inner_channels must be latent_channels={latent_channels} with spatial_norm,"
                f" got {inner}"
            )
        norm = "spatial" if spatial_norm else "group"
        super().__init__(*shape, inner_channels=inner, is_gaussian=False, norm=norm)
        self.spatial_norm = spatial_norm
        self.quant_conv = nn.Conv2d(inner, latent_channels, 1)
        self.codebook = fitting(codebook, latent_channels, "DiffusersVQ")
        self.post_quant_conv = nn.Conv2d(latent_channels, inner, 1)

    def encoded(self, images: Tensor) -> Tensor:
        return self.quant_conv(self.encoder(images))

    def decoded(self, latents: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(latents), latents if self.spatial_norm else None)


class DiffusersTiny(Autoencoder):
    """Plain convolutions, as in TAESD: distilled from a larger autoencoder, whose latents it gives.

    Its encoder leaves nothing to chance. Inside, pixels are in [0, 1], and the decoder holds latents to
    3 tanh(z / 3).

    encoder_blocks, decoder_blocks: residual blocks of each level, in the order of going through them.
    """

    @checked
    def __init__(
        self,
        channels: Count,
        encoder_blocks: list[Natural],
        decoder_blocks: list[Natural],
        latent_channels: Count = 4,
        encoder_width: Count = 64,
        decoder_width: Count = 64,
    ) -> None:
        super().__init__()
        if len(encoder_blocks) != len(decoder_blocks):
            raise ValueError(
                f"DiffusersTiny.decoder_blocks must have as many levels as encoder_blocks={encoder_blocks},"
                f" got {decoder_blocks}"
            )
        self.channels, self.latent_channels = channels, latent_channels
        self.downsampling = 2 ** (len(encoder_blocks) - 1)
        self.encoder = EncoderTiny(
            in_channels=channels,
            out_channels=latent_channels,
            num_blocks=tuple(encoder_blocks),
            block_out_channels=(encoder_width,) * len(encoder_blocks),
            act_fn="relu",
        )
        self.decoder = DecoderTiny(
            in_channels=latent_channels,
            out_channels=channels,
            num_blocks=tuple(decoder_blocks),
            block_out_channels=(decoder_width,) * len(decoder_blocks),
            upsampling_scaling_factor=2,
            act_fn="relu",
            upsample_fn="nearest",
        )

    def encode(self, images: Tensor) -> Tensor:
        return certain(self.encoder(images))

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(latents)

    @property
    def last(self) -> Tensor:
        convolution = self.decoder.layers[-1]
        assert isinstance(convolution, nn.Conv2d)
        return convolution.weight
