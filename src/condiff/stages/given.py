"""Files of weights that a config gives to a network, which is then used as it is; no torch."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from condiff.errors import ConfigError
from condiff.stages.outside import content
from condiff.stages.stage import Config

_NETWORKS = {"denoiser": "network", "weaker": "weaker.network", "classifier": "classifier.network"}


def weights_are_there(cfg: Config) -> None:
    """ConfigError for each file of weights that is named and not there."""
    missing = [
        f"{key}.weights: {file} is no file; give one in the layout of ADM's published ones, or null to train"
        for stage, key in _NETWORKS.items()
        for file in _named(cfg, key)
        if stage in cfg["stages"] and not Path(file).expanduser().is_file()
    ]
    if missing:
        raise ConfigError(*missing)


def of_denoiser(cfg: Config, cache: Path) -> str | None:
    """The weights that it is given; None where it is trained."""
    return content([*_named(cfg, _NETWORKS["denoiser"])], cache)


def of_weaker(cfg: Config, cache: Path) -> str | None:
    return content([*_named(cfg, _NETWORKS["weaker"])], cache)


def of_classifier(cfg: Config, cache: Path) -> str | None:
    return content([*_named(cfg, _NETWORKS["classifier"])], cache)


def _named(cfg: Config, key: str) -> Iterator[str]:
    """The file, if there is one, that the network at a path of the config is given."""
    node: Any = cfg
    for word in key.split("."):
        node = node.get(word) if isinstance(node, Mapping) else None
    if isinstance(node, Mapping) and node.get("weights") is not None:
        yield node["weights"]
