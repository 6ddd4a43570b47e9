"""Artifacts that another run has made, taken as they are; no torch."""

from pathlib import Path

from condiff.config.guidance_rules import SECOND_MODELS
from condiff.config.origins import BASE, FROM, TAKEN_OF_BASE, Origin, draws, origin_of, takes
from condiff.config.text_rules import classes_are_known, reads_label
from condiff.data.source import DataInfo
from condiff.errors import ArtifactError, ConfigError
from condiff.stages.cache import Cache, manifest_of
from condiff.stages.given import encoders_are_there, weights_are_there
from condiff.stages.stage import Artifact, Config

DRAWN = "samples"  # the one stage that is made


def taken(cfg: Config, cache: Cache) -> dict[str, Artifact]:
    """What another run has made that is drawn from or adapted, by stage; nothing where there is no such run.

    An artifact is found by its key: where the run left it, or in the ``cache``. ArtifactError where it is
    in neither, ConfigError where a stage is wanted that the run does not have.
    """
    if takes(cfg):
        origin = origin_of(cfg[FROM])
        return {name: _artifact(name, origin, FROM, cfg, cache) for name in cfg["stages"] if name != DRAWN}
    if draws(cfg) or cfg[BASE] is None or origin_of(cfg[BASE], BASE).study is not None:
        return {}
    origin = origin_of(cfg[BASE], BASE)
    return {
        name: _artifact(name if name in origin.stages else theirs, origin, BASE, cfg, cache)
        for name, theirs in TAKEN_OF_BASE.items()
        if name in cfg["stages"]
    }


def data_of_base(cfg: Config) -> DataInfo | None:
    """What the denoiser of a finished base was trained on; None where there is no such base."""
    if cfg[BASE] is None or origin_of(cfg[BASE], BASE).study is not None:
        return None
    cache = Cache(Path(cfg["runtime"]["cache"]).absolute())
    return DataInfo.read(_artifact("data", origin_of(cfg[BASE], BASE), BASE, cfg, cache).path)


def base_fits(cfg: Config, info: DataInfo, base: DataInfo) -> None:
    """Refuse data whose pictures, or the classes it is told, are not such as a base was trained on."""
    classes = reads_label(cfg)
    own, theirs = (
        f"pictures {d.channels} x {d.size} x {d.size}" + (f" of {d.num_classes} classes" if classes else "")
        for d in (info, base)
    )
    if own != theirs:
        raise ConfigError(
            f"data: has {own}, and the base is trained on {theirs}; use data of the kind that the base knows"
        )


def refuse_drawing(cfg: Config) -> None:
    """Find what is missing to draw from a finished run or from given weights, before anything is drawn."""
    if not takes(cfg):
        _refuse_making(cfg)
        return
    artifacts = taken(cfg, Cache(Path(cfg["runtime"]["cache"]).absolute()))
    unknown = [*classes_are_known(cfg, DataInfo.read(artifacts["data"].path).num_classes)]
    if unknown:
        raise ConfigError(*unknown)
    encoders_are_there(cfg)  # which may be asked for the width of its tokens, where not for a new text


def _refuse_making(cfg: Config) -> None:
    """Of weights that are given as a whole, told as such; a second model for a guidance is not among them."""
    second = [name for name in cfg["stages"] if name in SECOND_MODELS]
    if second:
        raise ConfigError(
            f"guidance: needs stage {second[0]}, which {cfg[FROM]} does not have; use guidance=cfg"
        )
    try:
        weights_are_there(cfg)
    except ConfigError as error:
        said = (line.partition(": ")[2] for line in error.lines)
        raise ConfigError(*(f"{FROM}: {line}" for line in said)) from error


def _artifact(name: str, origin: Origin, given: str, cfg: Config, cache: Cache) -> Artifact:
    """given: the key that names the run."""
    left, run = origin.stages.get(name), cfg[given]
    if not isinstance(left, dict) or not {"key", "path"} <= {*left}:
        of_guidance = name in SECOND_MODELS
        why = f"needs stage {name}, which {run} has not made"
        hint = "use guidance=cfg, or train it: that guidance in" if of_guidance else "make it with"
        raise ConfigError(f"{'guidance' if of_guidance else given}: {why}; {hint} {origin.again}")
    key, places = str(left["key"]), [Path(str(left["path"])), cache.folder(name, str(left["key"]))]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        raise ArtifactError(
            f"{given}: the {name} of {run}, key {key}, is no longer at {places[0]};"
            f" make it again with {origin.again}"
        )
    return Artifact(key, folder, manifest_of(folder))
