"""Adapters that a config names to draw with: files in any format, or runs that have trained one; no torch."""

from collections.abc import Iterator
from pathlib import Path

from condiff.config.adapter_rules import with_scale
from condiff.errors import ConfigError, DataError
from condiff.stages.outside import content
from condiff.stages.run_folders import artifacts_of
from condiff.stages.stage import Config

ADAPTER, FILE = "adapter", "adapter.safetensors"  # a stage, and what it leaves
_KEY = "adapters"


def finished(cfg: Config) -> Iterator[tuple[Path, float]]:
    """Where each adapter lies, and its scale; ConfigError where a run has none."""
    for place, entry in enumerate(cfg[_KEY] or []):
        named, scale = with_scale(entry)
        yield _file(named, f"{_KEY}[{place}]"), scale


def adapters_are_there(cfg: Config) -> None:
    """ConfigError with a line for each that is named and not there."""
    gone = [
        f"{_KEY}[{k}]: {path} does not exist; give a file of an adapter, a folder of peft, or a finished run"
        for k, (path, _) in enumerate(finished(cfg))
        if not path.exists()
    ]
    if gone:
        raise ConfigError(*gone)


def of_samples(cfg: Config, cache: Path) -> str | None:
    """The content of the adapters and the hints that samples are drawn with; None without any."""
    return content([*(str(path) for path, _ in finished(cfg)), *hints_named(cfg)], cache)


def hints_named(cfg: Config) -> list[str]:
    """Where the hints are that samples are drawn with: none of one's own, one for all, or one for each."""
    named = cfg.get("control") or []
    return [named] if isinstance(named, str) else [*named]


def _file(named: str, key: str) -> Path:
    path = Path(named).expanduser()
    if not (path / "stages.json").is_file():
        return path
    try:
        made = artifacts_of(named, key)
    except DataError as error:
        raise ConfigError(*error.lines) from error
    if ADAPTER not in made:
        raise ConfigError(f"{key}: {named} has trained no adapter; give a run that has")
    return made[ADAPTER].path / FILE
