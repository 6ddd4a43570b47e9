"""The command line as Hydra reads it: its flags, and the overrides with their mistakes."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException

from condiff.config.hints import closest, no_such_choice
from condiff.errors import ConfigError

MAX_RUNS = 1000  # of one sweep
PLUGINS = ("launcher", "sweeper")  # Hydra's own groups that a sweep chooses from


@dataclass(frozen=True, slots=True)
class Flags:
    """What is to be composed, and from where."""

    conf: Path
    config_name: str
    extra: Path | None
    multirun: bool
    overrides: list[str]
    words: list[str]  # those that chose where configs are, as they were given


@dataclass(frozen=True, slots=True)
class Setting:
    """One override: its text, and whether it chooses a file of a group or sets a value."""

    text: str
    parsed: Override
    is_group: bool

    @property
    def key(self) -> str:
        return self.parsed.key_or_group

    @property
    def place(self) -> str:
        """What no other setting sets as well: the key, with the package of a choice that has one."""
        return self.parsed.get_key_element()

    @property
    def part(self) -> str:
        """The group whose choice has that place: prior, of sampler@prior.sampler=...."""
        return self.place.rpartition("@")[2].partition(".")[0]

    @property
    def is_sweep(self) -> bool:
        return self.parsed.is_sweep_override()

    @property
    def is_interval(self) -> bool:
        """A sweep over all numbers between two."""
        return self.is_sweep and not self.parsed.is_discrete_sweep()

    @property
    def is_plain(self) -> bool:
        """``key=value``, without a leading ``+`` or ``~``."""
        return not self.is_group and self.parsed.type == OverrideType.CHANGE

    def values(self) -> list[Any]:
        """What it sets, one for each run of a sweep; a sweep too long is cut after the limit."""
        if self.is_sweep:
            return list(islice(self.parsed.sweep_iterator(), MAX_RUNS + 1))
        return [self.parsed.value()]

    def points(self) -> list["Setting"]:
        """Itself, or for a sweep a setting for each of its values, cut after the limit."""
        if not self.is_sweep:
            return [self]
        return self._each(islice(self.parsed.sweep_string_iterator(), MAX_RUNS + 1))

    def to(self, word: str) -> "Setting":
        """The same key with one value."""
        return self._each([word])[0]

    def _each(self, words: Iterable[str]) -> list["Setting"]:
        parser, key = OverridesParser.create(), self.parsed.get_key_element()
        texts = [f"{key}={word}" for word in words]
        return [Setting(text, parser.parse_override(text), self.is_group) for text in texts]


def read_flags(argv: list[str], conf: Path, config_name: str) -> Flags | None:
    """Hydra's flags; None where it only prints something (``--help`` and the like)."""
    parser = get_args_parser()
    parser.error = _refuse
    if "--version" in argv:
        return None
    args = parser.parse_args(argv)
    if args.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun: loads a pickle, which is never done; give the command again")
    if args.help or args.hydra_help or args.cfg or args.info or args.shell_completion:
        return None
    if args.run and args.multirun:
        raise ConfigError("--run: does not go with --multirun; give one of them")
    return Flags(
        conf=_folder("--config-path", conf.parent, args.config_path) or conf,
        config_name=args.config_name or config_name,
        extra=_folder("--config-dir", Path.cwd(), args.config_dir),
        multirun=args.multirun,
        overrides=args.overrides,
        words=[
            word
            for flag in ("config_path", "config_name", "config_dir")
            if (value := getattr(args, flag)) is not None
            for word in (f"--{flag.replace('_', '-')}", value)
        ],
    )


def read_settings(
    texts: list[str], loader: ConfigLoaderImpl, mistakes: list[str], blind: set[str]
) -> list[Setting]:
    """The overrides that can be used; each other one is a line in ``mistakes``.

    A misspelt choice is followed as if it were the one it is near to, so that the mistakes behind
    it are found too; where nothing is near, its key goes to ``blind``.
    """
    read = []
    for text in texts:
        setting = _parsed(text, loader, mistakes)
        if setting is None:
            continue
        plugin = _meant_plugin(setting)
        if setting.key == "hydra.searchpath":
            mistakes.append(f"{text}: is not allowed; add a folder of configs by --config-dir")
        elif plugin is not None:
            options, value = loader.get_group_options(plugin), str(setting.parsed.value())
            name = value if value in options else "NAME"
            mistakes.append(f"{text}: is written {plugin}={name}; there are: {', '.join(options)}")
        elif setting.is_group:
            read += _chosen(setting, loader, mistakes, blind)
        else:
            read.append(setting)
    return read


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"command line: {message}; see python run.py --help")


def _folder(flag: str, base: Path, given: str | None) -> Path | None:
    if given is None:
        return None
    path = base / given
    if "://" in given or not path.is_dir():
        raise ConfigError(f"{flag}: must be a folder, got {given!r}")
    return Path(os.path.abspath(path))


def _parsed(text: str, loader: ConfigLoaderImpl, mistakes: list[str]) -> Setting | None:
    try:
        parsed = OverridesParser.create().parse_override(text)
    except (HydraException, AssertionError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), "")
        mistakes.append(
            f"{_line(text)}: cannot be read as key=value ({_line(reason) or 'not in the grammar'})"
        )
        return None
    parsed.config_loader = loader  # asked for the choices of a glob
    key = parsed.key_or_group
    is_group = "." not in key and loader.repository.group_exists(key)
    if is_group and parsed.is_sweep_override() and not parsed.is_discrete_sweep():
        mistakes.append(f"{text}: the choices of a group have no interval; write {key}=ONE,OTHER")
        return None
    return Setting(text, parsed, is_group)


def _meant_plugin(setting: Setting) -> str | None:
    """The group of Hydra's, launcher or sweeper, that a setting was meant to choose from and does not."""
    room, _, last = setting.key.replace("/", ".").rpartition(".")
    if setting.is_group or not isinstance(setting.parsed.value(), str):
        return None
    near = closest(last, PLUGINS) if room == "hydra" else last if not room else None
    return f"hydra/{near}" if near in PLUGINS else None


def _chosen(
    setting: Setting, loader: ConfigLoaderImpl, mistakes: list[str], blind: set[str]
) -> Iterator[Setting]:
    """The choice of a group, if its file is there, or the one that is near to it."""
    options = loader.get_group_options(setting.key)
    values = setting.values()
    names = [name for value in values for name in (value if isinstance(value, list) else [value])]
    wrong = ["null" if name is None else str(name) for name in names if str(name) not in options]
    if not wrong or setting.parsed.is_delete():
        yield setting
        return
    mistakes += [no_such_choice(setting.key, name, options) for name in wrong]
    near = closest(wrong[0], options)
    if near is not None and len(names) == 1 and setting.parsed.package is None:
        parsed = replace(setting.parsed, _value=near)
        yield Setting(f"{parsed.get_key_element()}={near}", parsed, is_group=True)
    else:
        blind.add(setting.key)


def _line(text: str) -> str:
    return text if text.isprintable() and len(text) <= 120 else repr(text)[:120]
