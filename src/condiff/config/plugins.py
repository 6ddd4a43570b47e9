"""What of Hydra's own a config may choose: launchers, sweepers and logging as they stand."""

import functools
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf


def hydra_misuse(cfg: DictConfig) -> list[str]:
    """What a config could make Hydra import or run by itself."""
    lines = [] if OmegaConf.select(cfg, "hydra.mode") in (None, *RunMode) else ["hydra.mode: is no mode"]
    for key, allowed in _PLUGINS.items():
        targets = _targets(OmegaConf.select(cfg, f"hydra.{key}"))
        if len(targets) != 1 or targets[0] not in allowed:
            lines.append(f"hydra.{key}: must be a choice of hydra/{key} as it stands, got {targets}")
    for key in ("job_logging", "hydra_logging"):
        own = _own_logging(key)
        if OmegaConf.select(cfg, f"hydra.{key}") not in own.values():
            lines.append(f"hydra/{key}: must be one of {', '.join(sorted(own))} as it stands")
    for key in ("callbacks", "job.env_set", "job.env_copy"):
        value = OmegaConf.select(cfg, f"hydra.{key}")
        lines += [f"hydra.{key}: is not allowed, got {value}"] if value else []
    return lines


_PLUGINS = {
    "launcher": {
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        *(f"condiff.sweeps.launchers.{name}" for name in ("InProcess", "Processes", "Slurm", "Ray")),
    },
    "sweeper": {
        "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
        "condiff.sweeps.search.Optuna",
    },
}


def plugin(cfg: DictConfig, key: str) -> dict[str, Any]:
    """What ``hydra.launcher`` or ``hydra.sweeper`` names, as a node to be built; Hydra's own is empty."""
    node = cast(dict[str, Any], OmegaConf.to_container(cfg.hydra[key], resolve=True))
    return {} if str(node["_target_"]).startswith("hydra.") else node


def _targets(node: Any) -> list[Any]:
    """Everything that Hydra would build in building a node."""
    if isinstance(node, ListConfig):
        return [target for item in node for target in _targets(item)]
    if not isinstance(node, DictConfig):
        return []
    own = [node["_target_"]] if "_target_" in node else []
    return own + [target for key in node for target in _targets(node[key])]


@functools.cache
def _own_logging(key: str) -> dict[str, Any]:
    """The logging configs that come with Hydra; logging imports whatever another one names."""
    folder = Path(str(hydra.__file__)).parent / "conf" / "hydra" / key
    return {path.stem: OmegaConf.load(path) for path in folder.glob("*.yaml")}
