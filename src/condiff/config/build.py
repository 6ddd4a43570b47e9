"""The one door between configs and objects.

It does what ``hydra.utils.instantiate`` does with ``_target_`` and ``_partial_``, and less: a target
must be on the allow-list, nothing in a node is resolved, and live objects are handed on untouched
(Hydra copies them, and turns a dataclass among them into a dict). Workers need no Hydra for it.
"""

import functools
import importlib
from collections.abc import Mapping
from typing import Any

from condiff.config.signatures import TargetError, signature_of
from condiff.errors import ConfigError


def build(node: Mapping[str, Any], path: str = "", /, **wired: Any) -> Any:
    """Build what ``_target_`` names; ``wired`` are live objects, which a config never spells out.

    ``path`` is where the node stands in its config: a ValueError of a constructor becomes a
    ConfigError that begins with it. With ``_partial_: true`` it is a constructor that still lacks
    arguments.
    """
    if "_target_" not in node:
        raise ConfigError(f"{path or 'config'}: has no _target_")
    target = _allowed(node["_target_"], path)
    _refuse_unknown(node, path)
    given = {key: value for key, value in node.items() if not key.startswith("_")}
    arguments = {key: _value(value, f"{path}.{key}") for key, value in given.items()}
    make = functools.partial(target, **arguments, **wired)
    if node.get("_partial_", False):
        return make
    try:
        return make()
    except ValueError as error:
        raise ConfigError(_placed(error, target.__name__, path)) from error


def _allowed(target: Any, path: str) -> Any:
    """The class itself: the first import happens after the allow-list has said yes."""
    try:
        signature_of(str(target))
    except TargetError as error:
        raise ConfigError(f"{path}._target_: {error}") from error
    module, _, name = str(target).rpartition(".")
    return getattr(importlib.import_module(module), name)


def _refuse_unknown(node: Mapping[str, Any], path: str) -> None:
    for key in node:
        if key.startswith("_") and key not in ("_target_", "_partial_"):
            raise ConfigError(f"{path}.{key}: is not allowed beside _target_ and _partial_")


def _value(value: Any, path: str) -> Any:
    """A plain value as it stands, with each object in it built."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return build(value, path)
        return {key: _value(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item, f"{path}[{place}]") for place, item in enumerate(value)]
    if isinstance(value, str) and ("${" in value or value == "???"):
        raise ConfigError(
            f"{path}: must be a plain value, got {value!r}; nothing is resolved in a stored config"
        )
    return value


def _placed(error: ValueError, name: str, path: str) -> str:
    """The constructor's sentence, with the config path for the name of its class."""
    said = str(error)
    if not path:
        return said
    return f"{path}.{said.removeprefix(f'{name}.')}" if said.startswith(f"{name}.") else f"{path}: {said}"
