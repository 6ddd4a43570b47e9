"""Weights that a config gives to a network, which is then used as it is; no torch."""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from condiff import single_file
from condiff.autoencoders.published import fetched, found
from condiff.config.control_rules import comparing_hints
from condiff.config.given_rules import PLACES
from condiff.config.kinds import objects
from condiff.config.network_rules import size_can_be_halved
from condiff.config.nodes import argument, at, attribute, class_of
from condiff.config.schedulers import other_than
from condiff.data.source import DataInfo
from condiff.errors import ConfigError
from condiff.model_folders import CONFIG, read_config
from condiff.networks.pretrained_settings import DENOISERS, SCHEDULER, read_settings
from condiff.networks.pretrained_settings import PLACES as IN_PIPELINE
from condiff.pretrained import folder_of, model_folder
from condiff.stages.outside import content
from condiff.stages.stage import Config

_AUTOENCODER = f"{'.'.join(PLACES['autoencoder'])}.weights"


def weights_are_there(cfg: Config) -> None:
    """ConfigError for each file or folder of weights that is named and not there, once for each.

    A model on the hub that is not in its local cache is downloaded.
    """
    missing: dict[str, list[str]] = {}
    for weights, lines in _looked_at(cfg):
        if lines and weights not in missing:
            missing[weights] = lines
    told = [line for lines in missing.values() for line in lines] or _scale(cfg)
    if told:
        raise ConfigError(*told)


def _looked_at(cfg: Config) -> Iterator[tuple[str, list[str]]]:
    """Each file or folder that is named, with what is wrong with it."""
    stages = cfg["check"] or cfg["stages"]
    for stage, keys in PLACES.items():
        path = f"{'.'.join(keys)}.weights"
        for weights in _named(cfg, stage) if stage in stages else ():
            if stage == "autoencoder":
                yield weights, _lines(partial(fetched, weights), path)
            elif attribute(at(cfg, *keys), "takes_folder"):
                yield weights, _lines(partial(_denoiser, weights), path) or _schedule(cfg, weights)
            elif stage in cfg["stages"] and not Path(weights).expanduser().is_file():
                layout = attribute(at(cfg, *keys), "layout") or "the layout of ADM's published ones"
                yield weights, [f"{path}: {weights} is no file; give one in {layout}, or null to train"]
    if "texts" in cfg["stages"]:
        yield from _encoders_looked_at(cfg)


def _encoders_looked_at(cfg: Config) -> Iterator[tuple[str, list[str]]]:
    for path, node in _encoders(cfg):
        yield str(argument(node, "path") or path), _lines(partial(_folders, node), path)


def encoders_are_there(cfg: Config) -> None:
    """ConfigError for each encoder of text that is not there."""
    missing = [line for _, lines in _encoders_looked_at(cfg) for line in lines]
    if missing:
        raise ConfigError(*missing)


def hints_are_there(cfg: Config, stages: Collection[str], info: DataInfo) -> None:
    """ConfigError where the adapter or a metric of these stages reads hints and the data has none."""
    reading = {"adapter.tuning": cfg["adapter"]["tuning"]} if "adapter" in stages else {}
    if "metrics" in stages:
        reading |= comparing_hints(cfg)
    for path, node in reading.items():
        if attribute(node, "needs_control") and not info.control:
            instead = "adapter=linear_conv" if path == "adapter.tuning" else "metrics=judged"
            is_own = any(at(cfg, "data").get(key) is not None for key in ("path", "urls"))
            hinted = "data=hinted_own or hinted_folder" if is_own else "data=circles"
            raise ConfigError(
                f"{path}: {class_of(node)} needs a hint beside each picture, and data is"
                f" {class_of(cfg['data'])}, which has none; use {hinted}, or {instead}"
            )


def first_stage_fits(cfg: Config, info: DataInfo) -> None:
    """ConfigError where a given autoencoder cannot have these pictures, or a U-Net its latents."""
    if "autoencoder" not in cfg["stages"]:
        return
    for weights in _named(cfg, "autoencoder"):
        wrong = _lines(partial(_fit, weights, info.channels), _AUTOENCODER)
        if not wrong:
            own = {"network": {"downsampling": found(weights).downsampling}}
            data = {**cfg["data"], "size": info.size}
            wrong = [*size_can_be_halved({**cfg, "data": data, "autoencoder": own})]
        if wrong:
            raise ConfigError(*wrong)


def of_autoencoder(cfg: Config, cache: Path) -> str | None:
    """The files of the autoencoder that is given; None where it is trained."""
    return content([str(file) for weights in _named(cfg, "autoencoder") for file in _files(weights)], cache)


def of_texts(cfg: Config, cache: Path) -> str | None:
    """The files of the encoders of text."""
    every = [node for _, node in _encoders(cfg)]
    files = [str(node["weights"]) for node in every if node.get("weights") is not None]
    return content([*(place for node in every for place in _there(node)), *files], cache)


def of_denoiser(cfg: Config, cache: Path) -> str | None:
    """The weights that it is given; None where it is trained."""
    return content(_of_network(cfg, "denoiser"), cache)


def of_weaker(cfg: Config, cache: Path) -> str | None:
    return content(_of_network(cfg, "weaker"), cache)


def of_classifier(cfg: Config, cache: Path) -> str | None:
    return content([*_named(cfg, "classifier")], cache)


def _files(weights: str) -> list[Path]:
    """All that an autoencoder is made of; where it is not understood, which is told elsewhere, its name."""
    try:
        return found(weights).files
    except ValueError:
        return [Path(weights)]


def _of_network(cfg: Config, stage: str) -> list[str]:
    """The files that the network of a stage is given; where they are not understood, their name."""
    if not attribute(at(cfg, *PLACES[stage]), "takes_folder"):
        return [*_named(cfg, stage)]
    try:
        found = [DENOISERS.found(weights) for weights in _named(cfg, stage)]
    except ValueError:
        return [*_named(cfg, stage)]
    return [str(file) for files in found for file in (files.folder / CONFIG, *files.weights)]


def _denoiser(weights: str) -> None:
    """Fetch a network that is not there; ValueError where it is not understood."""
    DENOISERS.fetch(weights)
    files = DENOISERS.found(weights)
    read_settings(files.config, str(files.folder / CONFIG))


def _schedule(cfg: Config, weights: str) -> list[str]:
    """What the scheduler of the network's pipeline has otherwise than the config."""
    folder = DENOISERS.found(weights).folder
    file = folder.parent / SCHEDULER
    if folder.name not in IN_PIPELINE or not file.is_file():
        return []
    return [*other_than(cfg, read_config(file), str(file))]


def _scale(cfg: Config) -> list[str]:
    """What the config of a first stage says of its latents' scale otherwise, where a denoiser is given."""
    weights = {stage: [*_named(cfg, stage)] for stage in ("autoencoder", "denoiser")}
    if not {"latents", "denoiser"} <= {*cfg["stages"]} or not all(weights.values()):
        return []
    published, node = found(weights["autoencoder"][0]), at(cfg, *PLACES["autoencoder"])
    file = published.folder / CONFIG
    return [
        f"autoencoder.network.{name}: must be {said:g} as {theirs} of {file}, got {own:g}"
        for name, theirs in (("scale", "scaling_factor"), ("shift", "shift_factor"))
        for own, said in [(argument(node, name), published.config.get(theirs))]
        if isinstance(said, int | float) and own is not None and said != own
    ]


def _encoders(cfg: Config) -> list[tuple[str, Config]]:
    every = objects(cfg["conditioner"], "conditioner")
    return [(path, node) for path, node in every if path.rpartition(".")[2] == "encoder"]


def _fit(weights: str, channels: int) -> None:
    found(weights).fit(channels)


def _folders(node: Config, download: bool = True) -> list[Path]:
    """Of an encoder of text; ValueError where it is not there, nor to be downloaded as it asks for."""
    model, path = argument(node, "model"), argument(node, "path")
    if (inside := attribute(node, "folders")) is not None:
        pipeline = Path(str(path)).expanduser()
        more = [pipeline / name for name in attribute(node, "optional") or () if (pipeline / name).is_dir()]
        return [folder_of("", str(place), False) for place in (*(pipeline / name for name in inside), *more)]
    fetch = download and bool(argument(node, "download"))
    if node.get("weights") is not None and single_file.named(node["weights"]) is None:
        raise ValueError(f"{node['weights']} is no file; give a single file of Stable Diffusion 1 as weights")
    return [model_folder(attribute(node, "package"), model or "", path, fetch)]


def _there(node: Config) -> list[str]:
    """Where its files are; where they are not, which is told elsewhere, its name."""
    try:
        return [str(folder) for folder in _folders(node, download=False)]
    except ValueError:
        return [str(argument(node, "path") or argument(node, "model"))]


def _lines(look: Callable[[], Any], path: str) -> list[str]:
    """What is wrong with what is given, told under its key."""
    try:
        look()
    except ValueError as error:
        return [f"{path}: {error}"]
    return []


def _named(cfg: Config, stage: str) -> Iterator[str]:
    """The file, if there is one, that the network of a stage is given."""
    file = at(cfg, *PLACES[stage]).get("weights")
    if file is not None:
        yield file
