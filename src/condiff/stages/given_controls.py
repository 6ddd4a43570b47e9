"""Whether samples that finished adapters draw have hints that a metric can compare them with."""

from condiff.adapters.control_files import is_control
from condiff.config.control_rules import has_hints
from condiff.config.nodes import attribute
from condiff.errors import ConfigError
from condiff.stages.finished_adapters import finished
from condiff.stages.stage import Config


def can_be_compared(cfg: Config) -> None:
    """ConfigError where a metric compares hints and nothing that is named or trained reads any."""
    if has_hints(cfg) or any(is_control(own.path) for own in finished(cfg)):
        return
    metrics = cfg["metrics"].items()
    lacking = [name for name, node in metrics if isinstance(node, dict) and attribute(node, "needs_control")]
    if lacking:
        raise ConfigError(
            f"metrics.{lacking[0]}: compares samples with hints, and none of adapters={cfg['adapters']} is a"
            " ControlNet; give one, or use metrics=judged"
        )
