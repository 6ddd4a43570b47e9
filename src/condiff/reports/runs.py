"""Finished runs beside each other: what differs between them, and which are one setting over seeds."""

import math
import re
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from condiff.reports.tables import number
from condiff.reports.values import NULL, are_numbers, in_order, plain, said

FLOOR = "_floor"
SEED = "seed"
LONG_NAME = 36  # letters from which settings are named by what tells them apart alone
TARGET = "_target_"
_OF_FEW = re.compile(r"_biased_n\d+")
# Where a run happened, how it is called and how it was measured: what it made is the same.
_FREE = ("runtime", "logger", "question", "metrics", SEED)


@dataclass(frozen=True)
class Run:
    """What a finished run says of itself: its resolved config, metrics, stages and command."""

    config: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    stages: Mapping[str, Mapping[str, Any]]
    overrides: Sequence[str] = ()  # of the command line, such as guidance=apg
    folder: str = ""
    resembles: Mapping[str, str] = field(default_factory=dict)  # by group, the choice that it is most like

    def setting(self, path: str) -> Any:
        """The value at a dotted path of the config, or the choice of a group as the command line names it."""
        node: Any = self.config
        for part in path.split("."):
            node = node[part]
        if isinstance(node, Mapping):
            return self.chosen(path) or "default"
        return NULL if node is None else node

    def chosen(self, group: str) -> str | None:
        """The choice of a group, where the command line names one."""
        named = (text.lstrip("+").partition("=") for text in self.overrides)
        return next((value for key, _, value in named if key == group), None)


@dataclass(frozen=True)
class Setting:
    """Runs that differ in their seed only, and the values that set them apart from others."""

    values: Mapping[str, Any]
    runs: Sequence[Run] = field(repr=False)
    named_by: Sequence[str] = ()  # what of the values tells all settings apart

    @property
    def label(self) -> str:
        """A few words that name it, such as ``cfg_interval, scale 2``."""
        return ", ".join(said(path, self.values[path], self.named_by) for path in self.named_by) or "all runs"

    @property
    def full(self) -> str:
        """The same with every value that differs."""
        return ", ".join(said(path, value, self.values) for path, value in self.values.items()) or "all runs"


@dataclass(frozen=True)
class Estimate:
    """A metric of a setting: one run's value with its interval, or the mean over runs and their deviation."""

    value: float
    low: float | None
    high: float | None
    each: tuple[float, ...]  # of every run

    @property
    def ends(self) -> tuple[float, float] | None:
        """Of the bar of a plot: the interval of one run, or over several the lowest and the highest.

        A mean and its deviation would reach beyond what a metric can be.
        """
        if len(self.each) > 1:
            return min(self.each), max(self.each)
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def text(self) -> str:
        """The value, and over several runs its standard deviation, to two digits of that."""
        return f"{self.shown} ± {number(self._error(), 2)}" if self._error() else self.shown

    @property
    def shown(self) -> str:
        """The value, to no more digits than its deviation lets it have."""
        error = self._error()
        if not error or not math.isfinite(error):
            return number(self.value)
        return f"{self.value:.{max(0, 1 - math.floor(math.log10(error)))}f}"

    def _error(self) -> float:
        return statistics.stdev(self.each) if len({*self.each}) > 1 else 0.0


def estimate(runs: Sequence[Run], metric: str) -> Estimate | None:
    """What these runs say of a metric; None where they say nothing finite."""
    found = [run.metrics[metric] for run in runs if metric in run.metrics]
    found = [entry for entry in found if math.isfinite(entry["value"])]
    if not found:
        return None
    values = tuple(float(entry["value"]) for entry in found)
    mean = statistics.fmean(values)
    if len(values) == 1:
        low, high = found[0]["interval"] or (None, None)
        return Estimate(mean, low, high, values)
    deviation = statistics.stdev(values)
    return Estimate(mean, mean - deviation, mean + deviation, values)


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation, or the value that all of them have."""
    mean = number(statistics.fmean(values))
    return f"{mean} ± {number(statistics.stdev(values))}" if len({*values}) > 1 else mean


def metric_names(runs: Sequence[Run]) -> list[str]:
    """Every metric that some run has, in their order; what real data reaches is none."""
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    return [name for name in names if not name.endswith(FLOOR)]


def floor_of(name: str, metrics: Mapping[str, Any]) -> Any | None:
    """What real data reaches, whose name may say that it was of few pictures, too."""
    floors = {_OF_FEW.sub("", key): metric for key, metric in metrics.items() if key.endswith(FLOOR)}
    return floors.get(_OF_FEW.sub("", name) + FLOOR)


def settings_of(runs: Sequence[Run], table: Mapping[str, Sequence[Any]]) -> list[Setting]:
    """The runs brought together over seeds, numbers in their order and choices in the order of the runs.

    table: of each setting that differs, its value in each run (``differences``).
    """
    rows = [tuple(column[place] for column in table.values()) for place in range(len(runs))]
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for row, run in zip(rows, runs, strict=True):
        groups.setdefault(row, []).append(run)
    ranks = [{value: rank for rank, value in enumerate(in_order(column))} for column in table.values()]
    ordered = sorted(groups, key=lambda row: [rank[value] for rank, value in zip(ranks, row, strict=True)])
    settings = [Setting(dict(zip(table, row, strict=True)), groups[row], [*table]) for row in ordered]
    if all(len(setting.full) <= LONG_NAME for setting in settings):
        return settings
    return [replace(setting, named_by=telling(table)) for setting in settings]


def telling(table: Mapping[str, Sequence[Any]]) -> list[str]:
    """Settings enough to tell all apart: one choice where it does, or else choices rather than numbers."""
    choices = [path for path, column in table.items() if "." not in path and not are_numbers(column)]
    for path in choices:
        if _apart(table, [path]) == _apart(table, [*table]):
            return [path]
    kept = [*table]
    for path in sorted(reversed([*table]), key=lambda path: path in choices):
        rest = [other for other in kept if other != path]
        if _apart(table, rest) == _apart(table, kept):
            kept = rest
    return kept


def _apart(table: Mapping[str, Sequence[Any]], paths: Sequence[str]) -> int:
    """How many settings these tell apart."""
    return len({*zip(*(table[path] for path in paths), strict=True)})


def differences(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """The settings that differ, the seed apart, and the value of each in every run: null where its config
    says so, None where it has none.

    Two choices of a group are one difference, named by the command line where it tells; a value below a
    group counts by itself where it differs between runs of one choice.
    """
    flat = [dict(leaves(_counted(run.config), "")) for run in runs]
    found: dict[str, list[Any]] = {}
    for group in dict.fromkeys(key for run in runs for key in run.config if key not in _FREE):
        paths = dict.fromkeys(path for own in flat for path in own if _is_below(path, group))
        columns = {path: [plain(own.get(path)) for own in flat] for path in paths}
        choices = _choices(runs, group)
        if len({*choices}) > 1:
            found[group] = choices
        found |= {
            path: [
                NULL if path in own and value is None else value
                for own, value in zip(flat, column, strict=True)
            ]
            for path, column in columns.items()
            if not path.endswith(TARGET) and _varies_within(choices, column)
        }
    if len(found) > 1:  # a guidance may bring stages of its own, so they are no difference beside it
        found.pop("stages", None)
    return found


def set_by(run: Run, group: str, beside: Collection[str] = ()) -> str:
    """What a choice sets in numbers and words, such as ``scale 2, low 0.2``; not what stands ``beside``."""
    node = run.config.get(group)
    found = leaves(node, "") if isinstance(node, Mapping) else []
    return ", ".join(
        said(f".{path}", plain(value))
        for path, value in found
        if not path.endswith(TARGET) and value is not None and f"{group}.{path}" not in beside
    )


def leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value of a config by its dotted path."""
    if not isinstance(node, Mapping):
        yield path, node
        return
    for key, part in node.items():
        yield from leaves(part, f"{path}.{key}" if path else str(key))


def _counted(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in config.items() if key not in _FREE}


def _is_below(path: str, group: str) -> bool:
    return path == group or path.startswith(f"{group}.")


def _choices(runs: Sequence[Run], group: str) -> list[Any]:
    """The choice of a group in each run: as its command line names it, or another's that has the same class.

    One that no command line names is called by the choice that its runs are most like, if it is one. A group
    that is no object in any run gives the same for all: its values count one by one.
    """
    nodes = [run.config.get(group) for run in runs]
    if not any(isinstance(node, Mapping) for node in nodes):
        return [None] * len(runs)
    kinds = [tuple((p, v) for p, v in leaves(node, "") if p.endswith(TARGET)) for node in nodes]
    named = [run.chosen(group) for run in runs]
    names: dict[Any, set[str]] = {}
    alike: dict[Any, set[str]] = {}
    for kind, name, run in zip(kinds, named, runs, strict=True):
        names.setdefault(kind, set()).update([name] if name else [])
        alike.setdefault(kind, set()).update([] if name else [run.resembles.get(group, "")])
    return [
        name or _named(kind, node, names[kind], alike[kind])
        for kind, node, name in zip(kinds, nodes, named, strict=True)
    ]


def _named(kind: tuple[tuple[str, Any], ...], node: Any, names: set[str], alike: set[str]) -> str | None:
    """The one name that runs of the same classes give or are most like, or the name of the class."""
    if not isinstance(node, Mapping):
        return None
    own = str(node.get(TARGET) or (kind[0][1] if kind else "default")).rpartition(".")[2]
    for found in (names, alike):
        if len(found) == 1 and "" not in found:
            return next(iter(found))
    return own


def _varies_within(choices: Sequence[Any], column: Sequence[Any]) -> bool:
    """Whether a value differs between runs of one choice."""
    first: dict[Any, Any] = {}
    return any(
        first.setdefault(choice, value) != value for choice, value in zip(choices, column, strict=True)
    )
