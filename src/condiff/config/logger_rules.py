"""What wandb would refuse or ignore, told before anything runs."""

import re
from collections.abc import Iterator

from condiff.config.nodes import Config, at

_PROJECT = re.compile(r"[^/\\#?%:]{1,128}")


def logger_is_understood(cfg: Config) -> Iterator[str]:
    """Names that a server takes, and nothing asked of a log that is not kept."""
    logger = at(cfg, "logger")
    project, mode = logger.get("project"), logger.get("wandb")
    if isinstance(project, str) and not _PROJECT.fullmatch(project):
        yield f"logger.project: must be 1 to 128 characters, none of / \\ # ? % :, got {project!r}"
    for key in ("entity", "group"):
        name = logger.get(key)
        if isinstance(name, str) and not 0 < len(name) <= 128:
            yield f"logger.{key}: must be 1 to 128 characters or null, got {len(name)} characters"
    tags = logger.get("tags")
    for tag in tags if isinstance(tags, list) else []:
        if isinstance(tag, str) and not 0 < len(tag) <= 64:
            yield f"logger.tags: must be 1 to 64 characters each, got {len(tag)} characters"
    for key, silent in (("required", ("off", "offline")), ("artifacts", ("off",))):
        if logger.get(key) is True and mode in silent:
            yield f"logger.{key}: has no effect with logger.wandb={mode}; use logger.wandb=auto"
