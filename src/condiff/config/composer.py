"""Hydra's composition, told in mistakes instead of exceptions.

The files that a run's groups choose are composed once; the values set on top are applied one by
one, so that each wrong one is known by itself.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.types import OverrideType
from hydra.core.utils import JobRuntime, setup_globals
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue, OmegaConfBaseException

from condiff.config.command_line import Flags, Setting, read_settings
from condiff.config.origins import (
    BASE,
    BY_BASE,
    FROM,
    NO_COUNT,
    RUN,
    Origin,
    adapting,
    continued,
    draws,
    like_base,
    not_adapted,
    not_drawn_with,
    origin_of,
    stages_of_base,
)
from condiff.config.pipelines import kind_of
from condiff.config.plugins import hydra_misuse
from condiff.config.repository import GuardedRepository
from condiff.config.schema import REQUIRED
from condiff.errors import ConfigError

MAX_DEPTH = 30


class Composer:
    """Composes settings to plain configs; what goes wrong is a line in ``mistakes``."""

    def __init__(self, flags: Flags) -> None:
        version.setbase("1.3")
        setup_globals()
        JobRuntime.instance().set("name", "run")
        path = create_config_search_path(str(flags.conf))
        if flags.extra is not None:
            path.prepend("command-line", f"file://{flags.extra}", SearchPathQuery(provider="schema"))
        self.loader = ConfigLoaderImpl(path)
        self.loader.repository = GuardedRepository(path)
        self.config_name = flags.config_name
        self.mistakes: list[str] = []
        self.unnamed: dict[str, str] = {}  # settings whose key the files do not name: Hydra wants a +
        self._bases: dict[tuple[str, ...], DictConfig | None] = {}

    def compose(self, settings: list[Setting]) -> DictConfig | None:
        """The config of some settings, ``hydra`` node included; None where its files do not compose."""
        base = self._base(_groups(settings))
        try:
            more = [] if base is None else self._by_base(settings, base)
        except ConfigError as error:
            self.mistakes += error.lines
            return None
        settings = [*more, *settings]
        cfg = copy.deepcopy(self._base(_groups(settings)))
        if cfg is None:
            return None
        with open_dict(cfg):
            cfg.pop(BY_BASE, None)
        try:
            self._go_on_from(settings, cfg)
            more = self._adapt(settings, cfg)
        except ConfigError as error:
            self.mistakes += error.lines
            return None
        was_drawing = draws(cfg)
        for setting in settings:
            if not setting.is_group:
                self._apply(setting, cfg)
        if more:
            named = OmegaConf.select(cfg, "stages") or []
            OmegaConf.update(cfg, "stages", [*dict.fromkeys([*named, *more])], merge=False)
        if draws(cfg) != was_drawing:
            wrong = "must be an integer >= 1, got null; 16 is usual" if was_drawing else NO_COUNT
            self.mistakes.append(f"n: {wrong}")
            return None
        try:
            self.mistakes += hydra_misuse(cfg)
        except OmegaConfBaseException as error:
            self.mistakes.append(f"hydra: {_first_line(error)}")
            return None
        return cfg

    def _go_on_from(self, settings: list[Setting], cfg: DictConfig) -> None:
        """Under the settings, what a task that takes something finished goes on from is as it was."""
        if not draws(cfg):
            return
        unheard = [*not_drawn_with([(setting.key, setting.text) for setting in settings])]
        if unheard:
            raise ConfigError(*unheard)
        given = next((setting for setting in settings if setting.key == FROM), None)
        if given is None:
            told = any(line.startswith(f"{FROM}=") for line in self.mistakes)  # one that could not be used
            wanted = f"{FROM}: is required; give the folder of a finished run or of a pipeline, {FROM}=..."
            raise ConfigError(*([] if told else [wanted]))
        name = given.values()[0]  # of a sweep the first: each of its runs comes with its own
        if not isinstance(name, str) or name == REQUIRED:
            raise ConfigError(f"{FROM}: must be the folder of a finished run or of a pipeline, got {name!r}")
        try:
            config = self._config_of(origin_of(name))
        except ConfigError:
            if given.is_sweep:
                return
            raise
        chosen = {setting.key for setting in settings if setting.is_group}
        for key, value in continued(config, chosen).items():
            if _names(cfg, key):
                OmegaConf.update(cfg, key, value, merge=False)

    def _config_of(self, origin: Origin) -> Mapping[str, Any]:
        """As it was run, or as a study that was not is composed; ConfigError where that is not to be had."""
        if origin.study is None:
            return origin.config
        base = self._base(origin.study.choices)
        if base is None:
            raise ConfigError
        cfg = copy.deepcopy(base)
        for key, value in origin.study.values.items():
            OmegaConf.update(cfg, key, value)
        return self.plain(cfg)

    def _by_base(self, settings: list[Setting], cfg: DictConfig) -> list[Setting]:
        """What a study says for a base of its kind, but where the command line says something else."""
        listed, name = OmegaConf.select(cfg, BY_BASE), self._name_of_base(settings, cfg)
        if listed is None or not isinstance(name, str):
            return []
        if not name.strip():
            raise ConfigError(f"{BASE}: names nothing; give the folder of one of these: {', '.join(listed)}")
        kind = kind_of(Path(name).expanduser()) or RUN
        if kind not in listed:
            raise ConfigError(
                f"{BASE}: {name} is a {kind}, which this study has no settings for, only for"
                f" {', '.join(listed)}; give one of them"
            )
        said = {setting.place for setting in settings}
        own = read_settings([*listed[kind]], self.loader, self.mistakes, set())
        return [setting for setting in own if said.isdisjoint((setting.place, setting.part))]

    @staticmethod
    def _name_of_base(settings: list[Setting], cfg: DictConfig) -> Any:
        given = next((setting for setting in settings if setting.key == BASE), None)
        return given.values()[0] if given is not None else OmegaConf.select(cfg, BASE)

    def _adapt(self, settings: list[Setting], cfg: DictConfig) -> list[str]:
        """Under the settings, what an adapter stands on is as it was, where that is there; its stages."""
        given = next((setting for setting in settings if setting.key == BASE), None)
        name = self._name_of_base(settings, cfg)
        if not isinstance(name, str):
            return []  # null, or what has its own line
        unheard = [*not_adapted([(setting.key, setting.text) for setting in settings])]
        if unheard:
            raise ConfigError(*unheard)
        try:
            origin = origin_of(name, BASE)
            config = self._config_of(origin)
        except ConfigError:
            if given is not None and given.is_sweep:
                return []
            raise
        for key, value in adapting(config).items():
            OmegaConf.update(cfg, key, value, merge=False)
        for key, value in like_base(config).items():
            if _names(cfg, key) and OmegaConf.select(cfg, key) is None:
                OmegaConf.update(cfg, key, value, merge=False)
        return stages_of_base(config, origin.study is None)

    def plain(self, cfg: DictConfig) -> dict[str, Any]:
        """The study as plain values, every interpolation resolved; a required value stays ``???``."""
        study = {key: self._value(cfg, key, str(key), MAX_DEPTH) for key in cfg if key != "hydra"}
        return _settled({str(key): value for key, value in study.items() if value is not _UNRESOLVED})

    def _base(self, groups: tuple[str, ...]) -> DictConfig | None:
        if groups not in self._bases:
            try:
                self._bases[groups] = self._load(groups)
            except ConfigError as error:
                self._bases[groups] = None
                self.mistakes += self._culprits(groups) or error.lines
        return self._bases[groups]

    def _culprits(self, groups: tuple[str, ...]) -> list[str]:
        """What each choice is guilty of by itself, where the files without any choice do compose."""
        lines: list[str] = []
        for tried in [(), *((text,) for text in groups)]:
            try:
                self._load(tried)
            except ConfigError as error:
                is_twice = any(text.startswith("+") and "Multiple values" in str(error) for text in tried)
                lines += [f"{tried[0]}: is chosen already; write {tried[0][1:]}"] if is_twice else error.lines
                if not tried:
                    break
        return lines

    def _load(self, groups: tuple[str, ...]) -> DictConfig:
        """As for one run: for several Hydra lets a file leave a choice open, which is refused here."""
        try:
            return self.loader.load_configuration(
                self.config_name, list(groups), RunMode.RUN, validate_sweep_overrides=False
            )
        except (HydraException, OmegaConfBaseException, *_ODD) as error:
            raise ConfigError(f"config: {_first_line(error)}") from error
        except RecursionError as error:
            raise ConfigError("config: is nested too deeply") from error

    def _apply(self, setting: Setting, cfg: DictConfig) -> None:
        """Set a value; one that the config does not name is put in all the same, to be judged later."""
        parsed = setting.parsed
        if setting.is_sweep:
            return
        is_named = _names(cfg, setting.key)
        if parsed.type is OverrideType.ADD and is_named:
            self.mistakes.append(f"{setting.text}: is in the config already; write {setting.text[1:]}")
            return
        if setting.is_plain and not is_named:
            self.unnamed[setting.text] = setting.key
            parsed = replace(parsed, type=OverrideType.FORCE_ADD)
        try:
            ConfigLoaderImpl._apply_overrides_to_config([parsed], cfg)
        except (ConfigCompositionException, OmegaConfBaseException, *_ODD) as error:
            is_gone = parsed.is_delete() and not is_named
            said = f"there is no {setting.key} to delete" if is_gone else _first_line(error)
            self.mistakes.append(f"{setting.text}: {said}")

    def _value(self, node: DictConfig | ListConfig, key: Any, path: str, depth: int) -> Any:
        try:
            value = node[key]
        except MissingMandatoryValue:
            return REQUIRED
        except InterpolationToMissingValueError:
            return _UNRESOLVED  # what is missing is told where it is
        except (OmegaConfBaseException, RecursionError) as error:
            self.mistakes.append(f"{path}: {_first_line(error)}")
            return _UNRESOLVED
        if isinstance(value, DictConfig | ListConfig):
            return self._values(value, path, depth - 1)
        return value

    def _values(self, node: DictConfig | ListConfig, path: str, depth: int) -> Any:
        if depth == 0:
            self.mistakes.append(f"{path.partition('.')[0]}: is nested too deeply")
            return _UNRESOLVED
        if isinstance(node, ListConfig):
            return [self._value(node, place, f"{path}[{place}]", depth) for place in range(len(node))]
        found = {str(key): self._value(node, key, f"{path}.{key}", depth) for key in node}
        return {key: value for key, value in found.items() if value is not _UNRESOLVED}


def _groups(settings: list[Setting]) -> tuple[str, ...]:
    return tuple(setting.text for setting in settings if setting.is_group)


_UNRESOLVED = object()
# What Hydra and OmegaConf let slip for odd input
_ODD = (ValueError, TypeError, AttributeError, AssertionError)


def _names(cfg: DictConfig, key: str) -> bool:
    node: Any = cfg
    for part in key.split("."):
        is_open = isinstance(node, DictConfig) and not (node._is_none() or node._is_missing())
        node = node._get_node(part, validate_access=False) if is_open else None
    return node is not None


def _settled(study: dict[str, Any]) -> dict[str, Any]:
    """Without the one key of a guidance that any of them takes, where it says nothing."""
    guidance = study.get("guidance")
    if isinstance(guidance, dict) and guidance.get("negative", "") is None:
        study["guidance"] = {key: value for key, value in guidance.items() if key != "negative"} or None
    return study


def _first_line(error: BaseException) -> str:
    """What an exception says, or its cause if it says nothing itself."""
    said = str(error).strip() or str(error.__cause__ or type(error).__name__).strip()
    if isinstance(error.__cause__, OmegaConfBaseException) and said.startswith("Error merging"):
        said = str(error.__cause__)
    first, *rest = said.splitlines()
    return " ".join([first, *rest[:1]] if first.endswith(":") else [first]).strip()
