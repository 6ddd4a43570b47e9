"""Configs as a command makes them of conf/, and what it refuses."""

from typing import Any

from choices import CONF

from condiff.config.compose import check
from condiff.errors import ConfigError
from condiff.stages.study import STAGES

NAMES = [stage.name for stage in STAGES]


def each(*argv: str) -> list[dict[str, Any]]:
    """The config of each run of a command."""
    return check([*argv], CONF, NAMES) or []


def checked(*argv: str) -> dict[str, Any]:
    """The config of one run."""
    (cfg,) = each(*argv)
    return cfg


def told(*argv: str) -> tuple[str, ...]:
    """The mistakes of a command; none for one that may run."""
    try:
        check([*argv], CONF, NAMES)
    except ConfigError as error:
        return error.lines
    return ()
