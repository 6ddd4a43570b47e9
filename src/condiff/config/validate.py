"""Find every mistake in a composed config, before anything is imported or built."""

from collections.abc import Collection, Mapping
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin

from condiff.config.adapter_rules import without_stray_settings
from condiff.config.hints import nearest
from condiff.config.needed_stages import with_needed_stages
from condiff.config.origins import FROM, draws, in_words_of_a_study, in_words_of_the_task
from condiff.config.rules import RULES, unknown_stages
from condiff.config.schema import FILLED_IN, NESTED, REQUIRED, STUDIES, Run, keys_of
from condiff.config.signatures import Signature, TargetError, signature_of
from condiff.config.values import MisfitError, fit, is_plain
from condiff.errors import ConfigError

_GUIDANCE, _WORDS = "guidance", "negative"
_NEGATIVE = f"{_GUIDANCE}.{_WORDS}"  # what samples are led away from in words, whichever the guidance
CHECK = "check"  # the stage that counts what the stages of a study would take


def validate(cfg: Mapping[str, Any], stages: Collection[str] | None = None) -> dict[str, Any]:
    """The config with each plain value in the type its key asks for: 2 and 2.0 are one study.

    ``stages`` are the names a study may use. ConfigError has one line for every mistake.
    """
    cfg, stray = without_stray_settings(cfg)
    checked, mistakes = check_parts(cfg)
    mistakes += stray
    if stages is not None:
        mistakes += unknown_stages(checked, stages)
    if draws(checked) and checked[FROM] is not None:
        checked = in_words_of_a_study(checked)
    checked["stages"] = with_needed_stages(checked)
    for rule in RULES:
        mistakes += rule(checked)
    if checked["check"] is not None:  # no data are looked at
        mistakes = [line for line in mistakes if not line.startswith("data.path: is required")]
        checked["check"], checked["stages"] = checked["stages"], [CHECK]
    if draws(checked) and checked[FROM] is not None:
        mistakes = [in_words_of_the_task(line) for line in mistakes]
    if mistakes:
        raise ConfigError(*dict.fromkeys(mistakes))
    return checked


def check_parts(cfg: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Each key by itself, without the rules between them: the canonical config and its mistakes."""
    check = _Check()
    return check.part(cfg, Run, ""), check.mistakes


def check_object(node: Mapping[str, Any], path: str) -> tuple[dict[str, Any], list[str]]:
    """An object that is no part of a run by itself: the canonical node and its mistakes."""
    check = _Check()
    return check.target(node, path), check.mistakes


class _Check:
    """One walk through a config; ``mistakes`` has a line for each one met."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def part(self, node: Mapping[Any, Any], part: type, path: str) -> dict[str, Any]:
        """A mapping whose keys are the fields of a dataclass; what is left out takes its default."""
        keys = keys_of(part)
        of = f"no such key of {path}" if path else "a run has no such part"
        near = keys if path else [*keys, STUDIES]
        self.mistakes += [f"{_below(path, key)}: {of}{nearest(key, near)}" for key in node if key not in keys]
        given = {name: node.get(name, key.default) for name, key in keys.items()}
        return {name: self.value(given[name], keys[name].annotation, _below(path, name)) for name in keys}

    def value(self, value: Any, annotation: Any, path: str) -> Any:
        if _is_required(value):
            self.mistakes.append(f"{path}: is required; give it, e.g. {path}=...")
            return value
        part = _part_in(annotation)
        if part is not None and isinstance(value, Mapping) and "_target_" not in value:
            return self.part(value, part, path)
        inside = _inside(annotation)
        if inside is not None and isinstance(value, Mapping) and "_target_" not in value:
            return {str(key): self.value(item, inside, _below(path, key)) for key, item in value.items()}
        before = len(self.mistakes)
        value = self.nested(value, path)
        if len(self.mistakes) > before:
            return value
        try:
            return fit(value, annotation)
        except MisfitError as misfit:
            self.mistakes.append(f"{path}: {misfit}")
            return value

    def nested(self, value: Any, path: str) -> Any:
        """A value with every object inside it checked."""
        if isinstance(value, list | tuple):
            return [self.nested(item, f"{path}[{place}]") for place, item in enumerate(value)]
        if isinstance(value, Mapping):
            if "_target_" in value:
                return self.target(value, path)
            return {str(key): self.nested(item, _below(path, key)) for key, item in value.items()}
        if _is_required(value):
            self.mistakes.append(f"{path}: is required; give it, e.g. {path}=...")
        return value

    def target(self, node: Mapping[Any, Any], path: str) -> dict[str, Any]:
        """An object: its ``_target_`` may be built, and takes each of the arguments given."""
        try:
            signature = signature_of(str(node["_target_"]))
        except TargetError as error:
            self.mistakes.append(f"{path}._target_: {error}")
            return {str(key): value for key, value in node.items()}
        self.left_out(node, signature, path)
        return {str(key): self.argument(key, value, signature, path) for key, value in node.items()}

    def left_out(self, node: Mapping[Any, Any], signature: Signature, path: str) -> None:
        """Arguments that are neither given nor filled in; most objects are Python's to give."""
        needed = (name for name, known in signature.parameters.items() if known.required)
        for name in needed:
            is_given = name in node or name in FILLED_IN or "_partial_" in node
            if not is_given and (name in NESTED or is_plain(signature.parameters[name].annotation)):
                self.mistakes.append(f"{path}.{name}: is required by {signature.name}; give it")

    def argument(self, key: Any, value: Any, signature: Signature, path: str) -> Any:
        known, below = signature.parameters, _below(path, key)
        if below == _NEGATIVE:
            return self.value(value, str | list[str] | None, below)
        if key == "_target_":
            return value
        if key == "_partial_":
            return self.value(value, bool, below)
        if key not in known:
            names = [*known, _WORDS] if path == _GUIDANCE else [*known]
            self.mistakes.append(f"{below}: no such argument of {signature.name}{nearest(key, names)}")
            return value
        return self.value(value, known[key].annotation, below)


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _is_required(value: Any) -> bool:
    return isinstance(value, str) and value == REQUIRED


def _part_in(annotation: Any) -> type | None:
    """The dataclass of the schema that an annotation names, alone or in a union."""
    members = (annotation, *get_args(annotation))
    return next((kind for kind in members if isinstance(kind, type) and is_dataclass(kind)), None)


def _inside(annotation: Any) -> Any:
    """What each value must be of a mapping that an annotation names, alone or in a union; else None."""
    members = (annotation, *get_args(annotation))
    return next((get_args(kind)[1] for kind in members if get_origin(kind) is dict), None)
