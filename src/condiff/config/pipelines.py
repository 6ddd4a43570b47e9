"""A pipeline of diffusers as a study: what its folder states, in the words of a config; no torch.

Another kind of pipeline is a module with the name of its class, ``KIND``, its ``PARTS`` and ``study``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condiff import hub
from condiff.config import pipeline_ldm, pipeline_sd, pipeline_sd3, pipeline_sdxl
from condiff.config.pipeline_files import Study
from condiff.model_folders import read_config

INDEX = "model_index.json"
_KINDS = {module.KIND: module for module in (pipeline_sd, pipeline_sdxl, pipeline_sd3, pipeline_ldm)}
_NAMES = ", ".join(_KINDS)


def study_of(given: Path) -> Study | None:
    """The study that draws as the pipeline does that lies in a folder, or by its name in the hub's cache.

    None where there is no pipeline, ValueError in one line where it is one that cannot be drawn from.
    """
    folder = _folder(given)
    if folder is None:
        return None
    index = read_config(folder / INDEX)
    kind = _KINDS.get(str(index.get("_class_name")))
    if kind is None:
        raise ValueError(
            f"{given} is a {index.get('_class_name')}, and the pipelines that are drawn from are {_NAMES};"
            " give one of them"
        )
    _refuse_others(index, kind.PARTS, given)
    return kind.study(folder, index)


def kind_of(given: Path) -> str | None:
    """The class of the pipeline in a folder, or of that name in the hub's cache; None where there is none."""
    folder = _folder(given)
    return None if folder is None else str(read_config(folder / INDEX).get("_class_name"))


def _folder(given: Path) -> Path | None:
    """Where a pipeline lies; None where none does.

    Of the hub's only what is in its cache: nothing is fetched that was not asked for as a model.
    """
    if given.is_dir():
        folder = given.absolute()
    else:
        folder = hub.cached(str(given)) if hub.is_name(str(given)) else None
    return folder if folder is not None and (folder / INDEX).is_file() else None


def _refuse_others(
    index: Mapping[str, Any], parts: Mapping[str, tuple[str | None, ...]], given: Path
) -> None:
    for part, allowed in parts.items():
        named = index.get(part)
        own = named[-1] if isinstance(named, list) and named else named
        if own not in allowed:
            names = " or ".join("null" if name is None else name for name in allowed)
            raise ValueError(f"{given}: {part} must be {names} in its {INDEX}, got {own}")
