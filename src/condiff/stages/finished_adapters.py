"""Adapters that a config names to draw with: files in any format, or runs that have trained or exported one.

No torch.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from condiff.config.adapter_rules import FORMS, with_guess, with_scale, with_shares
from condiff.errors import ConfigError, DataError
from condiff.stages.outside import content
from condiff.stages.run_folders import EXPORTED_ADAPTER, artifacts_of
from condiff.stages.stage import Config

ADAPTER, FILE = "adapter", "adapter.safetensors"  # a stage, and what it leaves
CONTROL = "controlnet"  # a folder of diffusers
# Below the folder of an export, by their format.
PLACES = {"diffusers": "diffusers.safetensors", "kohya": "kohya.safetensors", "peft": "peft"}
_WHICH = (PLACES["diffusers"], PLACES["peft"], CONTROL)  # those that hold all of it, the first that is there
_TEXT = "text_encoders.safetensors"  # beside the file, of encoders of text that were trained as a whole
_KEY = "adapters"


class Finished(NamedTuple):
    """Where an adapter lies, its scale, and how it is used, where that is its own."""

    path: Path
    scale: float
    shares: tuple[float, float] | None  # of the way
    guess: str | None  # the target of a control
    key: str  # where the config names it

    def is_no_control(self) -> None:
        """ConfigError where it is used as a ControlNet alone can be."""
        if self.shares is not None or self.guess is not None:
            what = "START-END" if self.guess is None else "guess mode"
            raise ConfigError(f"{self.key}: {what} has no effect on a LoRA; leave it out")


def finished(cfg: Config) -> Iterator[Finished]:
    """Each that is named; ConfigError where a run has none."""
    for place, entry in enumerate(cfg[_KEY] or []):
        rest, guess = with_guess(entry)
        at_scale, shares = with_shares(rest)
        named, scale = with_scale(at_scale)
        key = f"{_KEY}[{place}]"
        yield Finished(_file(named, key), scale, shares, guess, key)


def adapters_are_there(cfg: Config) -> None:
    """ConfigError with a line for each that is named and not there."""
    gone = [f"{own.key}: {_why_none(str(own.path))}" for own in finished(cfg) if not own.path.exists()]
    if gone:
        raise ConfigError(*gone)


def text_of(file: Path) -> Path:
    """Where an adapter's training leaves the encoders of text that it has trained as a whole."""
    return file.with_name(_TEXT)


def text_beside(file: Path) -> Path | None:
    """The same, None where it has trained none, and of any other file."""
    return text_of(file) if file.name == FILE and text_of(file).is_file() else None


def of_samples(cfg: Config, cache: Path) -> str | None:
    """The content of the adapters and the hints that samples are drawn with; None without any."""
    files = [own.path for own in finished(cfg)]
    beside = [text for file in files if (text := text_beside(file)) is not None]
    return content([*map(str, [*files, *beside]), *hints_named(cfg)], cache)


def hints_named(cfg: Config) -> list[str]:
    """Where the hints are that samples are drawn with: none of one's own, one for all, or one for each."""
    named = cfg.get("control") or []
    return [named] if isinstance(named, str) else [*named]


def _file(named: str, key: str) -> Path:
    path = Path(named).expanduser()
    if not (path / "stages.json").is_file():
        return _exported(path) or path
    if (file := _exported(path / EXPORTED_ADAPTER)) is not None:
        return file
    try:
        made = artifacts_of(named, key)
    except DataError as error:
        raise ConfigError(*error.lines) from error
    if ADAPTER not in made:
        raise ConfigError(f"{key}: {named} has trained no adapter; give a run that has")
    return made[ADAPTER].path / FILE


def _why_none(named: str) -> str:
    """What is wrong with what is not there: perhaps what follows the name."""
    place, colon, last = named.rpartition(":")
    file, scale, _ = place.rpartition(":")
    if colon and Path(place).exists():
        return f"{last!r} is no scale; give {FORMS}"
    if colon and scale and Path(file).exists():
        return f"{last!r} is no START-END, shares of the way; give {FORMS}"
    return f"{named} does not exist; give a file of an adapter, a folder of peft, or a finished run"


def _exported(folder: Path) -> Path | None:
    """The adapter in the folder of an export; None where it is none."""
    return next((folder / name for name in _WHICH if (folder / name).exists()), None)
