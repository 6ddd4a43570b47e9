"""Files of weights that a config gives to a network, which is then used as it is; no torch."""

from collections.abc import Iterator
from pathlib import Path

from condiff.config.given_rules import PLACES
from condiff.config.nodes import at
from condiff.errors import ConfigError
from condiff.stages.outside import content
from condiff.stages.stage import Config


def weights_are_there(cfg: Config) -> None:
    """ConfigError for each file of weights that is named and not there."""
    missing = [
        f"{'.'.join(keys)}.weights: {file} is no file; give one in the layout of ADM's published ones,"
        " or null to train"
        for stage, keys in PLACES.items()
        for file in _named(cfg, stage)
        if stage in cfg["stages"] and not Path(file).expanduser().is_file()
    ]
    if missing:
        raise ConfigError(*missing)


def of_denoiser(cfg: Config, cache: Path) -> str | None:
    """The weights that it is given; None where it is trained."""
    return content([*_named(cfg, "denoiser")], cache)


def of_weaker(cfg: Config, cache: Path) -> str | None:
    return content([*_named(cfg, "weaker")], cache)


def of_classifier(cfg: Config, cache: Path) -> str | None:
    return content([*_named(cfg, "classifier")], cache)


def _named(cfg: Config, stage: str) -> Iterator[str]:
    """The file, if there is one, that the network of a stage is given."""
    file = at(cfg, *PLACES[stage]).get("weights")
    if file is not None:
        yield file
