"""What a command line says about a sweep: its axes, where its jobs run, and what of Hydra's is not there."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from omegaconf import DictConfig

from condiff.config.command_line import MAX_RUNS, Setting
from condiff.config.plugins import plugin
from condiff.config.signatures import signature_of
from condiff.config.spaces import Point, wrong_ranges
from condiff.config.validate import check_object
from condiff.errors import ConfigError
from condiff.files import digest

# Of each group the choices that take arguments.
_CHOICES = {
    "launcher": {
        name: f"condiff.sweeps.launchers.{name.capitalize()}" for name in ("processes", "slurm", "ray")
    },
    "sweeper": {"optuna": "condiff.sweeps.search.Optuna"},
}
_HYDRAS = re.compile(r"hydra[./]")
_OF_A_RUN = re.compile(r"hydra\.run\.")
_OF_A_SWEEP = re.compile(r"hydra[./](sweep\.dir|launcher|sweeper)\b")
_DONE_HERE = re.compile(r"hydra[./](mode|run|sweep\.dir|launcher|sweeper|searchpath)\b")
_REFUSED = re.compile(r"hydra[./](callbacks|job\.env_\w+|job_logging|hydra_logging)\b")  # has its own line


def every(settings: Sequence[Setting], mistakes: list[str]) -> list[Point]:
    """Every combination of what the settings sweep over."""
    mistakes += [
        f"{s.text}: an interval is searched by hydra/sweeper=optuna; a sweep takes values one by one, write"
        f" {s.key}=1,2,3"
        for s in settings
        if s.is_interval
    ]
    wrong = {s.text: [*wrong_ranges(s)] for s in settings}
    mistakes += [line for lines in wrong.values() for line in lines]
    points = [[s] if s.is_interval or wrong[s.text] else s.points() for s in settings]
    number = prod(map(len, points))
    empty = [s.text for s, found in zip(settings, points, strict=True) if not found] if number == 0 else []
    mistakes += [f"{text}: is a sweep over nothing; give it values" for text in empty]
    if number > MAX_RUNS:
        raise ConfigError(*mistakes, f"sweep: at most {MAX_RUNS} runs at once, got {number} or more")
    return [list(point) for point in product(*points)]


def given_again(settings: Sequence[Setting]) -> Iterator[str]:
    """A line for each key that is swept over and then given once more, of which Hydra would keep the last."""
    by_key: dict[str, list[Setting]] = {}
    for setting in settings:
        by_key.setdefault(setting.parsed.get_key_element().lstrip("+"), []).append(setting)
    for key, given in by_key.items():
        if any(setting.is_sweep for setting in given[:-1]):
            texts = " and ".join(setting.text for setting in given)
            yield f"{key}: is swept over once, got {texts}; give all of its values in one, {key}=ONE,OTHER"


def repeated(points: Sequence[Point], studies: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line where runs of a sweep have the same config, as those of 2 and 2.0: each is run once."""
    first: dict[str, str] = {}
    again: list[tuple[str, str]] = []
    for point, study in zip(points, studies, strict=True):
        words, key = " ".join(setting.text for setting in point), digest(study)
        if key in first:
            again.append((first[key], words))
        first.setdefault(key, words)
    if again:
        one, other = again[0]
        what = f"{one} is there twice" if one == other else f"{one} and {other} are the same run"
        more = f", and {len(again) - 1} more are repeated" if len(again) > 1 else ""
        yield f"sweep: {what}{more}; give each run once"


def plugins(master: DictConfig, mistakes: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The launcher and the sweeper as nodes to be built, empty for the plain ones."""
    found = []
    for key in ("launcher", "sweeper"):
        node = plugin(master, key)
        node.pop("params", None)
        checked, wrong = check_object(node, f"hydra.{key}") if node else ({}, [])
        mistakes += wrong
        found.append(checked)
    return found[0], found[1]


def of_other_plugins(settings: Sequence[Setting], **own: Mapping[str, Any]) -> Iterator[str]:
    """A line for each argument of a launcher or a sweeper that the one which was chosen does not have."""
    for setting in settings:
        key = setting.parsed.get_key_element().lstrip("+~")
        group, _, name = key.removeprefix("hydra.").partition(".")
        if group not in own or (own[group] and _takes(own[group]["_target_"], name)):
            continue
        others = " or ".join(choice for choice, target in _CHOICES[group].items() if _takes(target, name))
        if others:
            yield f"{key}: has no effect without hydra/{group}={others}; add that, or leave it out"


def _takes(target: str, name: str) -> bool:
    return name in signature_of(target).parameters


def without_effect(settings: Sequence[Setting], is_sweep: bool) -> Iterator[str]:
    """Settings of Hydra's own that are done here in another way, or not at all by this command."""
    needless, why = (_OF_A_RUN, "a sweep") if is_sweep else (_OF_A_SWEEP, "a run without -m")
    instead = "; use hydra.sweep.dir" if is_sweep else ""
    for setting in settings:
        if needless.match(setting.key):
            yield f"{setting.text}: has no effect on {why}{instead}"
        elif _HYDRAS.match(setting.key) and setting.is_sweep:
            key = setting.parsed.get_key_element()
            yield f"{setting.text}: must be one value; quote a comma, {key}='\"a, b\"'"
        elif _HYDRAS.match(setting.key) and not (
            _DONE_HERE.match(setting.key) or _REFUSED.match(setting.key)
        ):
            yield (
                f"{setting.text}: has no effect here; of Hydra's own settings there are hydra.run.dir,"
                " hydra.sweep.dir, hydra/launcher and hydra/sweeper"
            )
