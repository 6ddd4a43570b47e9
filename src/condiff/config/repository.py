"""Config files as Hydra reads them, guarded: a file is small, plain and free of aliases."""

import os
from pathlib import Path

import yaml
from hydra._internal.config_repository import ConfigRepository
from hydra.core.default_element import GroupDefault
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult

from condiff.config.hints import no_such_choice
from condiff.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_TOKENS = 20_000  # 100 times the longest config here; read in about a second
MAX_DEPTH = 50
_LOADER = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # the former is many times as fast, where it was built


class GuardedRepository(ConfigRepository):
    """Refuses a file that cannot be read, with its line, before its content is expanded."""

    def load_config(self, config_path: str) -> ConfigResult | None:
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if source is None or source.scheme() != "file":
            return super().load_config(config_path)
        path = Path(source.path, source._normalize_file_name(config_path))
        guard(path)
        try:
            loaded = super().load_config(config_path)
        except yaml.YAMLError as error:
            raise ConfigError(_told(path, error)) from error
        except (OSError, ValueError) as error:
            raise ConfigError(f"{_shown(path)}: {str(error).splitlines()[0]}") from error
        except RecursionError as error:
            raise ConfigError(f"{_shown(path)}: is nested too deeply") from error
        lines = self._wrong_choices(loaded, config_path) if loaded is not None else []
        if lines:
            raise ConfigError(*(f"{_shown(path)}: {line}" for line in lines))
        return loaded

    def get_group_options(
        self, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG
    ) -> list[str]:
        """The choices of a group, and those in its folders, which Hydra takes as FOLDER/CHOICE."""
        found = super().get_group_options(group_name, results_filter)
        if results_filter != ObjectType.CONFIG:
            return found
        folders = super().get_group_options(group_name, ObjectType.GROUP)
        inside = {folder: self.get_group_options(f"{group_name}/{folder}") for folder in folders}
        return [*found, *(f"{folder}/{name}" for folder, names in inside.items() for name in names)]

    def _wrong_choices(self, loaded: ConfigResult, config_path: str) -> list[str]:
        """The choices in a file's defaults list that no file is there for."""
        lines = []
        chosen = [item for item in loaded.defaults_list or [] if isinstance(item, GroupDefault)]
        for item in chosen:
            folder = "" if str(item.group).startswith("/") else config_path.rpartition("/")[0]
            group = f"{folder}/{item.group}".strip("/")
            options = self.get_group_options(group)
            names = item.value if isinstance(item.value, list) else [item.value]
            wrong = [name for name in names if name is not None and "${" not in name and name not in options]
            lines += [no_such_choice(group, name, options) for name in wrong if not item.optional]
        return lines


def guard(path: Path) -> None:
    """Aliases make a few lines into gigabytes; an interpolation says the same and is counted once."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ConfigError(f"{_shown(path)}: a config file has at most 1 MB, this one {size / 1e6:.1f} MB")
    try:
        depth = 0
        for number, token in enumerate(yaml.scan(path.read_text(encoding="utf-8"), Loader=_LOADER)):
            depth += isinstance(token, _OPENS) - isinstance(token, _CLOSES)
            if isinstance(token, yaml.AliasToken):
                raise ConfigError(f"{_place(path, token)}: alias *{token.value} is not read; interpolate")
            if depth > MAX_DEPTH or number > MAX_TOKENS:
                raise ConfigError(f"{_place(path, token)}: is nested too deeply or too long for a config")
    except yaml.YAMLError as error:
        raise ConfigError(_told(path, error)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{_shown(path)}: is not UTF-8 text") from error


_OPENS = (
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
)
_CLOSES = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)


def _place(path: Path, token: yaml.Token) -> str:
    return f"{_shown(path)}:{token.start_mark.line + 1}"


def _told(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"{_shown(path)}:{mark.line + 1}" if mark is not None else _shown(path)
    return f"{place}: is not valid YAML: {getattr(error, 'problem', None) or str(error).splitlines()[0]}"


def _shown(path: Path) -> str:
    """The path from here where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
