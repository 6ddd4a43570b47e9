"""Weights that a config gives to a network, which is then used as it is; no torch."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from condiff.autoencoders.published import fetched, found
from condiff.config.given_rules import PLACES
from condiff.config.network_rules import size_can_be_halved
from condiff.config.nodes import at
from condiff.data.source import DataInfo
from condiff.errors import ConfigError
from condiff.stages.outside import content
from condiff.stages.stage import Config


def weights_are_there(cfg: Config) -> None:
    """ConfigError for each file of weights that is named and not there.

    An autoencoder on the hub that is not in its local cache is downloaded.
    """
    missing = [
        f"{'.'.join(keys)}.weights: {file} is no file; give one in the layout of ADM's published ones,"
        " or null to train"
        for stage, keys in PLACES.items()
        for file in _named(cfg, stage)
        if stage != "autoencoder" and stage in cfg["stages"] and not Path(file).expanduser().is_file()
    ]
    if "autoencoder" in (cfg["check"] or cfg["stages"]):
        for weights in _named(cfg, "autoencoder"):
            missing += _lines(fetched, weights)
    if missing:
        raise ConfigError(*missing)


def first_stage_fits(cfg: Config, info: DataInfo) -> None:
    """ConfigError where a given autoencoder cannot have these pictures, or a U-Net its latents."""
    if "autoencoder" not in cfg["stages"]:
        return
    for weights in _named(cfg, "autoencoder"):
        wrong = _lines(lambda weights: found(weights).fit(info.channels), weights)
        if not wrong:
            own = {"network": {"downsampling": found(weights).downsampling}}
            data = {**cfg["data"], "size": info.size}
            wrong = [*size_can_be_halved({**cfg, "data": data, "autoencoder": own})]
        if wrong:
            raise ConfigError(*wrong)


def of_autoencoder(cfg: Config, cache: Path) -> str | None:
    """The files of the autoencoder that is given; None where it is trained."""
    return content([str(file) for weights in _named(cfg, "autoencoder") for file in _files(weights)], cache)


def of_denoiser(cfg: Config, cache: Path) -> str | None:
    """The weights that it is given; None where it is trained."""
    return content([*_named(cfg, "denoiser")], cache)


def of_weaker(cfg: Config, cache: Path) -> str | None:
    return content([*_named(cfg, "weaker")], cache)


def of_classifier(cfg: Config, cache: Path) -> str | None:
    return content([*_named(cfg, "classifier")], cache)


def _files(weights: str) -> list[Path]:
    """All that an autoencoder is made of; where it is not understood, which is told elsewhere, its name."""
    try:
        return found(weights).files
    except ValueError:
        return [Path(weights)]


def _lines(look: Callable[[str], Any], weights: str) -> list[str]:
    """What is wrong with an autoencoder, told under its key."""
    try:
        look(weights)
    except ValueError as error:
        return [f"{'.'.join(PLACES['autoencoder'])}.weights: {error}"]
    return []


def _named(cfg: Config, stage: str) -> Iterator[str]:
    """The file, if there is one, that the network of a stage is given."""
    file = at(cfg, *PLACES[stage]).get("weights")
    if file is not None:
        yield file
