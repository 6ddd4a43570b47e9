"""The pipeline of a given base, with the networks that were trained as a whole in the place of its own."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from condiff.adapters.tuning import part_of
from condiff.adapters.whole import is_whole
from condiff.config.nodes import at
from condiff.config.pipelines import INDEX
from condiff.errors import ConfigError
from condiff.files import read_json
from condiff.networks.pretrained_settings import DENOISERS
from condiff.stages.adapted import with_whole
from condiff.stages.denoiser import Trained
from condiff.stages.finished_adapters import ADAPTER, FILE, text_beside
from condiff.stages.stage import Artifact, Config

log = logging.getLogger(__name__)


def is_trained_whole(made: Mapping[str, Artifact]) -> bool:
    """Whether all weights of the denoiser, or of the encoders of its text, were trained."""
    file = made[ADAPTER].path / FILE if ADAPTER in made else None
    return file is not None and (is_whole(file) or text_beside(file) is not None)


def leave_pipeline(cfg: Config, made: Mapping[str, Artifact], trained: Trained, out: Path) -> None:
    """A folder that DiffusionPipeline reads: all but those networks is copied as it is in the base's.

    cfg: of the run, whose scale the networks are at. ConfigError where the base is no pipeline, or is gone.
    """
    base = _base(cfg)
    index = read_json(base / INDEX)
    with with_whole(cfg, made, trained) as networks:
        out.mkdir(parents=True)
        for name in (INDEX, *(name for name in index if name not in networks and (base / name).is_dir())):
            copy = shutil.copytree if (base / name).is_dir() else shutil.copyfile
            copy(base / name, out / name)
        for part, network in networks.items():
            cast(Any, network).save_pretrained(out / part)
        if (own := part_of(trained[0].network)) in networks:
            cast(Any, trained[0].network).leave(out / own)  # what its config says that is not built from
    log.info("pipeline: as %s, but for its %s", base, ", ".join(networks))


def _base(cfg: Config) -> Path:
    """The folder of the pipeline whose denoiser was given."""
    given = str(at(cfg, "network")["weights"])
    try:
        folder = DENOISERS.found(given).folder.parent
    except ValueError as error:
        raise ConfigError(f"from: its base cannot be copied: {error}") from error
    if not (folder / INDEX).is_file():
        raise ConfigError(
            f"from: its base, {given}, is no pipeline of diffusers with {INDEX}, so that none can be made of"
            " it; give a run of base=PIPELINE"
        )
    return folder
