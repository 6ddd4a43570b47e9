"""Looking into a config that may have mistakes: what is not there is empty, and nothing is imported."""

from collections.abc import Mapping
from typing import Any

from condiff.config.annotations import read_constant
from condiff.config.signatures import TargetError, class_attribute, signature_of
from condiff.config.sources import read_module
from condiff.config.values import MisfitError, fit

Config = Mapping[str, Any]


def at(cfg: Config, *keys: str) -> Config:
    """The mapping below some keys; an empty one where there is none."""
    node: Any = cfg
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}


def words(value: Any) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def class_of(node: Config) -> str:
    return str(node.get("_target_")).rpartition(".")[2]


def argument(node: Config, name: str) -> Any:
    """An argument's value, given or by default; None where the class has no such argument."""
    if name in node or "_target_" not in node:
        return node.get(name)
    try:
        parameter = signature_of(str(node["_target_"])).parameters.get(name)
    except TargetError:
        return None
    return parameter.default if parameter is not None else None


def fitting(node: Config, name: str) -> Any:
    """An argument's value where it is one that its annotation allows; one that is not has its own line."""
    value = argument(node, name)
    try:
        return fit(value, signature_of(str(node.get("_target_"))).parameters[name].annotation)
    except MisfitError:
        return None
    except (TargetError, KeyError):
        return value


def attribute(node: Config, name: str) -> Any:
    """A constant of the node's class; None where there is none."""
    try:
        return class_attribute(str(node.get("_target_")), name)
    except ValueError:
        return None


def module_constant(module: str, name: str) -> Any:
    """A literal at the top level of a module of this package, read from its source."""
    source = read_module(module)
    assert source is not None
    return read_constant(source.constants[name], source)
