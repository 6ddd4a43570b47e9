"""The preflight of a command: every run it asks for is composed and checked before the first starts."""

import random
import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from condiff.config.adapter_rules import PARTS, without_what_is_taken_away
from condiff.config.command_line import Flags, Setting, read_flags, read_settings
from condiff.config.composer import Composer
from condiff.config.control_rules import found_unasked
from condiff.config.given_rules import not_compared, without_training
from condiff.config.guidance_rules import SECOND_MODELS
from condiff.config.network_rules import without_restarts
from condiff.config.schema import REQUIRED, STUDIES, defaults
from condiff.config.spaces import Point, axis_of, corners, told_of_whole_numbers, wrong_axes, wrong_ranges
from condiff.config.sweeping import every, given_again, of_other_plugins, plugins, repeated, without_effect
from condiff.config.validate import validate
from condiff.errors import ConfigError


@dataclass(frozen=True)
class Planned:
    """One run that a command asks for: what the command line says of it, and its canonical config."""

    overrides: list[str]
    cfg: dict[str, Any]


@dataclass(frozen=True)
class Command:
    """Everything that a command line asks for.

    folder: of the run, or of the sweep that gives each of its runs a folder in it; from the current one.
    is_named: whether the user chose that folder, rather than the config.
    """

    runs: list[Planned]
    folder: str
    is_named: bool
    is_sweep: bool
    launcher: Mapping[str, Any]  # a node to be built; empty for this process
    axes: list[str]  # the keys that a sweep goes over
    search: "Search | None"  # where points of a space are tried, ``runs`` being its corners
    flags: list[str]  # of the command line, those of a sweep apart


class Search:
    """A space that is searched: its axes, by what, and the run of any point in it."""

    def __init__(self, sweeper: Mapping[str, Any], preflight: "_Preflight", settings: list[Setting]) -> None:
        self.sweeper = sweeper
        self.axes = [axis_of(setting) for setting in settings if setting.is_sweep]
        self._preflight, self._settings = preflight, settings

    def at(self, words: Mapping[str, str]) -> Planned:
        """The run with these values, by the keys of the axes; ConfigError if there is none."""
        keyed = [(setting.parsed.get_key_element(), setting) for setting in self._settings]
        return self._preflight.at([s.to(words[key]) if s.is_sweep else s for key, s in keyed])


def read_command(
    argv: list[str], conf: Path, stages: Collection[str] | None = None, config_name: str = "config"
) -> Command | None:
    """What a command line asks for, every run composed and checked; ConfigError with every mistake.

    ``conf`` is the folder of configs, ``stages`` the names a study may use. None for commands that
    only print, such as ``--help``. Nothing is written, and nothing heavy imported.
    """
    register()
    flags = read_flags(argv, conf, config_name)
    return None if flags is None else _Preflight(flags, stages).command()


def check(
    argv: list[str], conf: Path, stages: Collection[str] | None = None, config_name: str = "config"
) -> list[dict[str, Any]] | None:
    """The canonical config of each run of ``read_command``."""
    command = read_command(argv, conf, stages, config_name)
    return None if command is None else [run.cfg for run in command.runs]


def register() -> None:
    """Make Hydra know the schema of a run and the resolver ``run_id``, and forget ``oc.env``.

    A study that reads the environment is another study elsewhere, and may show a secret.
    """
    ConfigStore.instance().store(name="schema", node=defaults())
    OmegaConf.register_new_resolver("run_id", _run_id, use_cache=True, replace=True)
    OmegaConf.clear_resolver("oc.env")


class _Preflight:
    def __init__(self, flags: Flags, stages: Collection[str] | None) -> None:
        self.flags = flags
        self.stages = stages
        self.composer = Composer(flags)
        self.mistakes = self.composer.mistakes
        self.blind: set[str] = set()  # groups whose choice is unknown, so that their keys are too
        self.axes: set[str] = set()  # groups that a sweep chooses from

    def command(self) -> Command:
        settings = read_settings(self.flags.overrides, self.composer.loader, self.mistakes, self.blind)
        master = self.composer.compose(settings)
        if master is None:
            raise ConfigError(*dict.fromkeys(self.mistakes))
        is_sweep = self.flags.multirun or master.hydra.mode == RunMode.MULTIRUN
        launcher, sweeper = ({}, {}) if self.mistakes else plugins(master, self.mistakes)
        if self.flags.multirun and master.hydra.mode == RunMode.RUN:
            self.mistakes.append("hydra.mode: must not be RUN with -m, which asks for a sweep; leave out one")
        others = [*of_other_plugins(settings, launcher=launcher, sweeper=sweeper)]
        self.mistakes[:] = [*(line for line in self.mistakes if not _is_told_better(line, others)), *others]
        self.mistakes += given_again(settings) if is_sweep else []
        swept = self._swept(settings, master) if is_sweep else self._unswept(settings)
        self.axes = {setting.key for setting in swept if setting.is_group and setting.is_sweep}
        points = self._corners(swept) if sweeper else every(swept, self.mistakes)
        runs = [run for point in points if (run := self._planned(point)) is not None]
        self._want_plus()
        self.mistakes[:] = told_of_whole_numbers(self.mistakes, swept if sweeper else [])
        if not self.mistakes:
            self._want_effect(settings, [run.cfg for run in runs])
        key = "hydra.sweep.dir" if is_sweep else "hydra.run.dir"
        folder = self._folder(master, key, settings)
        self.mistakes += without_effect(settings, is_sweep)
        if self.mistakes:
            raise ConfigError(*dict.fromkeys(_without_what_follows(self.mistakes)))
        named = any(setting.key == key for setting in settings)
        search = Search(sweeper, self, swept) if sweeper and is_sweep else None
        axes = [setting.parsed.get_key_element() for setting in swept if setting.is_sweep]
        if is_sweep and search is None:
            self._want_each_once(axes, points, runs)
        return Command(runs, folder, named, is_sweep, launcher, axes, search, self.flags.words)

    def _unswept(self, settings: list[Setting]) -> list[Setting]:
        self.mistakes += [
            f"{s.text}: several values are a sweep, which needs -m; a list is written {s.key}=[...],"
            f" and one value with commas \"{s.key}='...'\""
            for s in settings
            if s.is_sweep
        ]
        return [s for s in settings if not s.is_sweep]

    def _swept(self, settings: list[Setting], master: DictConfig) -> list[Setting]:
        """With what a file sweeps over, unless the command line says something else of it."""
        every_one = [*self._swept_by_file(master), *settings]
        return [*{s.parsed.get_key_element(): s for s in every_one}.values()]

    def _corners(self, settings: list[Setting]) -> list[Point]:
        """Those of the space that the right ones of its axes span."""
        wrong = {s.text: [*wrong_ranges(s), *wrong_axes(s)] for s in settings if s.is_sweep}
        self.mistakes += [line for lines in wrong.values() for line in lines]
        return corners([s for s in settings if not wrong.get(s.text)])

    def at(self, point: list[Setting]) -> Planned:
        """The run of one more point; ConfigError if it has mistakes."""
        self.mistakes.clear()
        run = self._planned(point)
        if run is None:
            raise ConfigError(*dict.fromkeys(self.mistakes))
        return run

    def _planned(self, point: list[Setting]) -> Planned | None:
        point = self._heard(point)
        cfg = self._study(point)
        words = [setting.text for setting in point if not setting.key.startswith("hydra")]
        return None if cfg is None else Planned(words, cfg)

    def _heard(self, point: list[Setting]) -> list[Setting]:
        """Less what a sweep says of an adapter or a prior for its other choices, where it chooses none."""
        gone = {part for part in self.axes & {*PARTS} if any(s.text == f"{part}=none" for s in point)}
        return [s for s in point if not s.key.startswith(tuple(f"{part}." for part in gone))]

    def _swept_by_file(self, master: DictConfig) -> list[Setting]:
        params = master.hydra.sweeper.get("params") or {}
        texts = [f"{key}={value}" for key, value in params.items()]
        return read_settings(texts, self.composer.loader, self.mistakes, self.blind)

    def _folder(self, cfg: DictConfig, key: str, settings: list[Setting]) -> str:
        """Where the run or the sweep will lie must be known before it starts."""
        over_studies = any(setting.key == STUDIES and setting.is_sweep for setting in settings)
        if "name" not in cfg and self.mistakes and not over_studies:
            return ""  # has its own line
        try:
            folder = OmegaConf.select(cfg, key, throw_on_missing=True)
            if isinstance(folder, str) and folder:
                return folder
            self.mistakes.append(f"{key}: must be a folder, got {folder}")
        except OmegaConfBaseException as error:
            hint = "name: a sweep over studies needs a name of its own; give name=..."
            self.mistakes.append(f"{key}: {str(error).splitlines()[0]}" if "name" in cfg else hint)
        return ""

    def _study(self, settings: list[Setting]) -> dict[str, Any] | None:
        """The canonical config of one run; None if it has mistakes."""
        cfg = self.composer.compose(settings)
        if cfg is None:
            return None
        if not cfg.hydra.runtime.choices.get("experiment") and OmegaConf.is_missing(cfg, "name"):
            self.mistakes += [] if "experiment" in self.blind else [self._no_study()]
            self.blind |= _STUDY  # no study is there to make these right or wrong
        before = len(self.mistakes)
        given = [setting.key for setting in settings]
        plain = without_what_is_taken_away(self.composer.plain(cfg), given)
        told = {line.split(":")[0] for line in self.mistakes[before:]}
        try:
            return validate(plain, self.stages)
        except ConfigError as error:
            self.mistakes += [line for line in error.lines if not self._is_told(line, told)]
            return None

    def _is_told(self, line: str, told: set[str]) -> bool:
        """Whether a line only follows from a mistake that has its own."""
        path = line.split(":", maxsplit=1)[0]
        is_above = path in told or any(key.startswith((f"{path}.", f"{path}[")) for key in told)
        return is_above or any(path == key or path.startswith(f"{key}.") for key in self.blind)

    def _want_plus(self) -> None:
        for text, key in self.composer.unnamed.items():
            if not any(_is_about(line, key) for line in self.mistakes):
                self.mistakes.append(f"{key}: is not in the config yet; to add it, write +{text}")

    def _want_effect(self, settings: list[Setting], studies: list[dict[str, Any]]) -> None:
        """A second model that was asked for by name must be trained in one of the runs at least."""
        trained = {stage for cfg in studies for stage in cfg["check"] or cfg["stages"]}
        for setting in settings:
            part = setting.key.split(".")[0]
            if part in SECOND_MODELS and part not in trained and not setting.parsed.is_delete():
                self.mistakes.append(
                    f"{setting.text}: has no effect, as this study draws no samples that need stage {part};"
                    f" use {SECOND_MODELS[part]}, or leave {part} out"
                )
        given = [(setting.key, setting.text) for setting in settings]
        for without in (without_training, without_restarts, not_compared, found_unasked):
            self.mistakes += without(given, studies)

    def _want_each_once(self, axes: list[str], points: list[Point], runs: list[Planned]) -> None:
        own = [[s for s in point if s.parsed.get_key_element() in axes] for point in points]
        mistakes = list(repeated(own, [run.cfg for run in runs]))
        if mistakes:
            raise ConfigError(*mistakes)

    def _no_study(self) -> str:
        names = self.composer.loader.get_group_options("experiment")
        return (
            f"experiment: say which study to run, e.g. python run.py experiment={(names or ['NAME'])[0]};"
            f" there are: {', '.join(names) or 'none yet'}"
        )


_STUDY = {key for key, value in defaults().items() if value is None or value == REQUIRED}


def _is_told_better(line: str, others: Sequence[str]) -> bool:
    """Whether another line is about the same key."""
    return any(line.partition(":")[0] == other.partition(":")[0] for other in others)


def _is_about(line: str, key: str) -> bool:
    """Whether a mistake's path lies on the way to a key or below it."""
    path = line.split(":", maxsplit=1)[0].split("=", maxsplit=1)[0]
    return key == path or key.startswith(f"{path}.") or path.startswith((f"{key}.", f"{key}["))


def _run_id() -> str:
    letters = random.SystemRandom().choices(string.ascii_lowercase + string.digits, k=6)
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{''.join(letters)}"


def _without_what_follows(mistakes: list[str]) -> list[str]:
    """Less what another choice of a group would require than the one that was written, which there is not."""
    unknown = [line.partition("=")[0] for line in mistakes if ": no such choice" in line]
    return [line for line in mistakes if not (": is required;" in line and line.partition(".")[0] in unknown)]
