"""An autoencoder that others have trained, used as it is."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from condiff.autoencoders.codebook import Codebook, LearnedCodebook
from condiff.autoencoders.diffusers_models import DiffusersKL, DiffusersTiny, DiffusersVQ
from condiff.autoencoders.original import original_name
from condiff.autoencoders.published import Published, found
from condiff.autoencoders.published_settings import attention
from condiff.autoencoders.published_weights import published, taken
from condiff.autoencoders.space import Autoencoder, LatentSpace
from condiff.files import write_json
from condiff.model_folders import CONFIG
from condiff.ranges import Count, Positive, checked
from condiff.single_file import FIRST_STAGE, part, prefix_in
from condiff.weight_files import misfit, read_tensors

log = logging.getLogger(__name__)


class Pretrained(Autoencoder):
    """One of diffusers', whose shape its config.json says and whose weights ``fill`` takes in.

    Where it is for pictures of three channels and the data have one, it is given three that are alike, and
    the mean of the three that it answers is the picture.

    weights: a folder, or owner/name of a model on the hub, which must lie in its local cache by now; or a
        single file of latent diffusion's or Stable Diffusion's authors, of which it is the first stage.
    scale, shift: latents are ``scale (z - shift)``, as a denoiser that is given, too, was trained on; with a
        scale of None they are normalised as measured.
    """

    @checked
    def __init__(
        self, channels: Count, weights: str, scale: Positive | None = None, shift: float = 0.0
    ) -> None:
        super().__init__()
        try:
            self.published = found(weights)
            self.published.fit(channels)
        except ValueError as error:
            raise ValueError(f"Pretrained.weights: {error}") from error
        self.inner = built(self.published).requires_grad_(False)
        self.channels, self.scale, self.shift = channels, scale, shift
        if scale is None and shift:
            raise ValueError("Pretrained.shift: has no effect without a scale; leave it out, or give both")
        self.latent_channels, self.downsampling = self.inner.latent_channels, self.inner.downsampling

    def encode(self, images: Tensor) -> Tensor:
        return self.inner.encode(images.expand(-1, self.inner.channels, -1, -1))

    def decode(self, latents: Tensor) -> Tensor:
        decoded = self.inner.decode(latents)
        return decoded if self.channels == self.inner.channels else decoded.mean(1, keepdim=True)

    @property
    def last(self) -> Tensor:
        return self.inner.last

    def stated(self) -> LatentSpace | None:
        if self.scale is None:
            return None
        every = torch.ones(self.latent_channels)
        return LatentSpace(self.shift * every, every / self.scale)

    def codes(self) -> Codebook | None:
        return self.inner.codes()

    def exportable(self) -> Autoencoder | None:
        return self.inner.exportable() if self.channels == self.inner.channels else None

    def fill(self, key: str) -> None:
        """Take in the published weights, strictly; ``key`` is where the config has this network."""
        fill(self.inner, self.published, key)
        if self.channels != self.inner.channels:
            log.info(
                "%s: pictures of 1 channel go in as %d that are alike, and come out as the mean",
                key,
                self.inner.channels,
            )

    def leave(self, out: Path) -> None:
        """Write what says its shape: a folder that has it, and its weights, is one to be given again."""
        write_json(out / CONFIG, self.published.config)


def built(published: Published) -> DiffusersKL | DiffusersVQ | DiffusersTiny:
    """The network of this shape, its weights at random."""
    return _MAKES[published.kind](published.settings)


def fill(network: nn.Module, model: Published, key: str) -> None:
    """Give a network the weights of a published model; ValueError where a tensor does not fit."""
    wanted = published(network.state_dict())
    tensors = _original(model, wanted, key) if model.is_original else _read(model, key)
    wrong = misfit(wanted, tensors)
    if wrong:
        said = "tensors" if model.is_original else CONFIG
        raise ValueError(
            f"{key}.weights: {model.weights[0]} does not fit the {model.kind} of its {said}: {wrong};"
            " the two must be of one model"
        )
    network.load_state_dict({**network.state_dict(), **taken(tensors)}, strict=True)


def _read(model: Published, key: str) -> dict[str, Tensor]:
    """Tensors by the names that diffusers gives them now."""
    return published(taken(read_tensors(model.weights, key)))


def _original(model: Published, wanted: Mapping[str, Tensor], key: str) -> dict[str, Tensor]:
    """Tensors of latent diffusion's own file by diffusers' names, and by their own what has none there.

    A linear layer of ours may be a convolution of size 1 there.
    """
    (file,) = model.weights
    names = {original_name(name, len(model.settings["block_out_channels"])): name for name in wanted}
    there, prefix = part(file, FIRST_STAGE), prefix_in(file, FIRST_STAGE)
    given = read_tensors([file], key, [prefix + name for name in there])
    tensors = {names.get(name, name): given[prefix + name] for name in there}
    return {
        name: tensor.flatten(1) if name in wanted and tensor.ndim == 4 and wanted[name].ndim == 2 else tensor
        for name, tensor in tensors.items()
    }


def _shape(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "channels": settings["in_channels"],
        "widths": settings["block_out_channels"],
        "attention": attention(settings),
        "blocks": settings["layers_per_block"],
        "norm_groups": settings["norm_num_groups"],
        "middle_attention": settings["mid_block_add_attention"],
    }


def _kl(settings: Mapping[str, Any]) -> DiffusersKL:
    return DiffusersKL(
        **_shape(settings),
        latent_channels=settings["latent_channels"],
        quant_conv=settings["use_quant_conv"],
        post_quant_conv=settings["use_post_quant_conv"],
    )


def _vq(settings: Mapping[str, Any]) -> DiffusersVQ:
    length = settings["vq_embed_dim"] or settings["latent_channels"]
    return DiffusersVQ(
        **_shape(settings),
        codebook=LearnedCodebook(settings["num_vq_embeddings"], length),
        latent_channels=length,
        inner_channels=settings["latent_channels"],
        spatial_norm=settings["norm_type"] == "spatial",
    )


def _tiny(settings: Mapping[str, Any]) -> DiffusersTiny:
    return DiffusersTiny(
        settings["in_channels"],
        settings["num_encoder_blocks"],
        settings["num_decoder_blocks"],
        settings["latent_channels"],
        settings["encoder_block_out_channels"][0],
        settings["decoder_block_out_channels"][0],
    )


_MAKES = {"AutoencoderKL": _kl, "VQModel": _vq, "AutoencoderTiny": _tiny}
