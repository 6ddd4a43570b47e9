"""A denoiser's network of diffusers that others have trained: its shape is its config.json's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from condiff.files import write_json
from condiff.model_folders import CONFIG, Files
from condiff.networks.pretrained_settings import DENOISERS, read_settings
from condiff.weight_files import current, misfit, read_tensors


class Published(nn.Module):
    """Holds a ``net`` of one of the classes it ``makes``, and knows where its weights lie."""

    takes_folder: ClassVar[bool] = True
    makes: ClassVar[Mapping[str, type[nn.Module]]]  # by the names of their classes
    files: Files
    net: nn.Module

    def found(self, weights: str) -> tuple[str, dict[str, Any], str]:
        """The class and the settings of what ``weights`` names, and the file that says them."""
        self.files = DENOISERS.found(weights)
        config = str(self.files.folder / CONFIG)
        kind, settings = read_settings(self.files.config, config)
        if kind not in self.makes:
            raise ValueError(
                f"{config}: _class_name must be one of {', '.join(self.makes)}, got {kind}; give the whole"
                " pipeline as base or from, which chooses the network"
            )
        return kind, settings, config

    def made(self, kind: str, settings: Mapping[str, Any], config: str) -> nn.Module:
        """The network, its weights at random; ValueError in one line where diffusers refuses its settings."""
        lists = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
        try:
            return self.makes[kind](**lists)
        except (ValueError, TypeError, NotImplementedError, KeyError, IndexError, AttributeError) as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f"{config}: makes no {kind} ({said})") from error

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
