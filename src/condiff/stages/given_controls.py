"""Whether samples that finished adapters draw have hints that a metric can compare them with."""

from condiff.adapters.control_files import is_control
from condiff.config.control_rules import comparing_hints, has_hints
from condiff.errors import ConfigError
from condiff.stages.finished_adapters import finished
from condiff.stages.stage import Config


def can_be_compared(cfg: Config) -> None:
    """ConfigError where a metric compares hints and nothing that is named or trained reads any."""
    if has_hints(cfg) or any(is_control(own.path) for own in finished(cfg)):
        return
    lacking = [*comparing_hints(cfg)]
    if lacking:
        raise ConfigError(
            f"{lacking[0]}: compares samples with hints, and none of adapters={cfg['adapters']} is a"
            " ControlNet; give one, or use metrics=judged"
        )
