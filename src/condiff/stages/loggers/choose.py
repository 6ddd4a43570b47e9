"""The loggers that a config asks for."""

from collections.abc import Callable, Mapping
from typing import Any

from condiff.stages.loggers.files import JsonLines, Tables
from condiff.stages.loggers.logger import Logger, Loggers
from condiff.stages.loggers.tensorboard import Tensorboard
from condiff.stages.loggers.wandb_runs import Wandb


def chosen_loggers(settings: Mapping[str, Any]) -> Loggers:
    """Those of the config's ``logger``, none of them started; log.jsonl is always written."""
    wanted: list[tuple[bool, Callable[[], Logger]]] = [
        (True, JsonLines),
        (settings["csv"], Tables),
        (settings["tensorboard"], Tensorboard),
        (settings["wandb"] != "off", lambda: Wandb(settings)),
    ]
    return Loggers([make() for is_wanted, make in wanted if is_wanted])
