"""What a command line says about a sweep: its axes, where its jobs run, and what of Hydra's is not there."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, RangeSweep
from omegaconf import DictConfig

from condiff.config.command_line import MAX_RUNS, Setting
from condiff.config.composer import plugin
from condiff.config.validate import check_object
from condiff.errors import ConfigError
from condiff.files import digest

Point = list[Setting]
_HYDRAS = re.compile(r"hydra[./]")
_OF_A_RUN = re.compile(r"hydra\.run\.")
_OF_A_SWEEP = re.compile(r"hydra[./](sweep\.dir|launcher|sweeper)\b")
_DONE_HERE = re.compile(r"hydra[./](mode|run|sweep\.dir|launcher|sweeper|searchpath)\b")
_REFUSED = re.compile(r"hydra[./](callbacks|job\.env_\w+|job_logging|hydra_logging)\b")  # has its own line


@dataclass(frozen=True)
class Axis:
    """One dimension of a space that is searched: numbers from ``low`` to ``high``, or ``words``.

    step: between the values, for whole numbers and ranges; None where every number between is one.
    """

    key: str
    words: Sequence[str] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False

    @property
    def size(self) -> int | None:
        """How many values it has; None where there is no end of them."""
        if self.words:
            return len(dict.fromkeys(self.words))
        return None if self.step is None else int((self.high - self.low) / self.step + 1e-9) + 1

    def values(self) -> list[str]:
        """Each of them, as a word of the command line."""
        if self.words or self.step is None:
            return [*dict.fromkeys(self.words)]
        return [self.word(self.low + place * self.step) for place in range(self.size or 0)]

    @property
    def is_whole(self) -> bool:
        numbers = (self.low, self.high, self.step)
        return all(number is not None and float(number).is_integer() for number in numbers)

    def word(self, value: float) -> str:
        return str(int(value)) if self.is_whole else f"{value:.5g}"  # more digits tell nothing


def axis_of(setting: Setting) -> Axis:
    key, value = setting.parsed.get_key_element(), setting.parsed.value()
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        assert low is not None
        assert high is not None
        whole = isinstance(low, int) and isinstance(high, int)
        return Axis(key, (), low, high, 1 if whole else None, "log" in value.tags)
    if isinstance(value, RangeSweep) and value.start is not None and value.stop is not None:
        values = [float(number) for number in value.range()]
        return Axis(key, (), min(values), max(values), abs(float(value.step)))
    return Axis(key, words=[point.text.partition("=")[2] for point in setting.points()])


def every(settings: Sequence[Setting], mistakes: list[str]) -> list[Point]:
    """Every combination of what the settings sweep over."""
    mistakes += [
        f"{s.text}: an interval is searched by hydra/sweeper=optuna; a sweep takes values one by one, write"
        f" {s.key}=1,2,3"
        for s in settings
        if s.is_interval
    ]
    points = [[s] if s.is_interval else s.points() for s in settings]
    number = prod(map(len, points))
    empty = [s.text for s, found in zip(settings, points, strict=True) if not found] if number == 0 else []
    mistakes += [f"{text}: is a sweep over nothing; give it values" for text in empty]
    if number > MAX_RUNS:
        raise ConfigError(*mistakes, f"sweep: at most {MAX_RUNS} runs at once, got {number} or more")
    return [list(point) for point in product(*points)]


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


def corners(settings: Sequence[Setting]) -> list[Point]:
    """One point of a space, and those where one axis has another of its choices or its other end."""
    ends = [setting.ends() for setting in settings]
    first = [points[0] for points in ends]
    return [first] + [
        [*first[:place], other, *first[place + 1 :]]
        for place, points in enumerate(ends)
        for other in points[1:]
    ]


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
