"""A published autoencoder: where it lies, which files it is, what it says of itself; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condiff import single_file
from condiff.autoencoders.original import config_of
from condiff.autoencoders.published_settings import KINDS, read_settings
from condiff.model_folders import CONFIG, Part

_PLACES = ("", "vae/", "vqvae/", "movq/")
AUTOENCODERS = Part(KINDS, _PLACES)


@dataclass(frozen=True)
class Published:
    """An autoencoder whose weights are not read yet.

    kind: its class in diffusers. settings: every argument of that class that counts, given or by default.
    is_original: whether its tensors have the names of latent diffusion's files, without a config.json.
    """

    config: Mapping[str, Any]
    kind: str
    settings: Mapping[str, Any]
    folder: Path
    weights: tuple[Path, ...]
    is_original: bool = False

    @property
    def files(self) -> list[Path]:
        """All that it is made of."""
        return [*self.weights] if self.is_original else [self.folder / CONFIG, *self.weights]

    @property
    def channels(self) -> int:
        return self.settings["in_channels"]

    @property
    def downsampling(self) -> int:
        levels = "num_encoder_blocks" if self.kind == "AutoencoderTiny" else "block_out_channels"
        return 2 ** (len(self.settings[levels]) - 1)

    def fit(self, channels: int) -> None:
        """ValueError for pictures of so many channels that it cannot be given; grey becomes three alike."""
        if channels == self.channels or (channels, self.channels) == (1, 3):
            return
        where = self.weights[0] if self.is_original else self.folder
        raise ValueError(
            f"{where} is for pictures of {self.channels} {_plural('channel', self.channels)}, and those"
            f" of the data have {channels}; use another, pictures of {self.channels}, or train one with"
            " autoencoder=compact_kl"
        )


def found(weights: str) -> Published:
    """What ``weights`` names: a folder, a model of the hub that lies in its local cache, or a single file.

    ValueError, without the key, where it is not there, not complete or not understood.
    """
    file = single_file.named(weights)
    if file is not None:
        config = config_of(single_file.part(file, single_file.FIRST_STAGE), str(file))
        kind, settings = read_settings(config, str(file))
        return Published(config, kind, settings, file.parent, (file,), is_original=True)
    files = AUTOENCODERS.found(weights)
    kind, settings = read_settings(files.config, str(files.folder / CONFIG))
    return Published(files.config, kind, settings, files.folder, files.weights)


def fetched(weights: str) -> Published:
    """The same, but a model of the hub that is not there is downloaded, as it was asked for by name."""
    if single_file.named(weights) is None:
        AUTOENCODERS.fetch(weights)
    return found(weights)


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
