"""Search of a space by Optuna: the next point depends on what the last ones gave."""

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from condiff.config.metric_names import no_such_metric, resolved, short
from condiff.config.spaces import Axis
from condiff.errors import ConfigError, EnvironmentFault
from condiff.ranges import Count, Natural, checked

Words = Mapping[str, str]  # of a point, by the keys of the axes


class Optuna:
    """Searches with its TPE sampler (Ozaki 2022 where there are several objectives), with a fixed seed.

    minimize, maximize: names of metrics as the report lists them, without ``_biased_n180`` if one likes. The
    same seed and results give the same points, so a search that was stopped goes on by being told again what
    it knew.
    """

    @checked
    def __init__(
        self, num_trials: Count, minimize: list[str], maximize: list[str], seed: Natural = 0
    ) -> None:
        if not minimize and not maximize:
            raise ValueError("Optuna.minimize and maximize are both empty; name at least one metric")
        named = [*map(short, (*minimize, *maximize))]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ValueError(
                f"Optuna.minimize and maximize name {', '.join(twice)} twice; name each metric once"
            )
        self.num_trials, self.seed = num_trials, seed
        self.objectives = {name: "minimize" for name in minimize} | {name: "maximize" for name in maximize}

    def begin(self) -> "Trials":
        try:
            optuna = import_module("optuna")
        except ImportError as error:
            raise EnvironmentFault(
                'hydra/sweeper: optuna is not installed; pip install -e ".[sweep]"'
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=self.seed, multivariate=True, constant_liar=True)
        study = optuna.create_study(directions=[*self.objectives.values()], sampler=sampler)
        return Trials(study, self.objectives, optuna)

    def best(self, measured: Sequence[Mapping[str, float]]) -> list[int]:
        """The places of those that no other beats in one objective and matches in all (Pareto)."""
        costs = [self._costs(metrics) for metrics in measured]
        return [
            place
            for place, cost in enumerate(costs)
            if not any(map(math.isnan, cost)) and not any(_beats(other, cost) for other in costs)
        ]

    def refuse_unmeasured(self, metrics: Sequence[str]) -> None:
        """ConfigError for an objective that is none of the metrics."""
        lines = []
        for name, direction in self.objectives.items():
            if resolved(short(name), metrics) is None:
                lines.append(f"hydra.sweeper.{direction}: {no_such_metric(name, metrics)}")
        if lines:
            raise ConfigError(*lines)

    def _costs(self, metrics: Mapping[str, float]) -> list[float]:
        """What is to be small, an objective each; nan where it was not measured."""
        signs = {"minimize": 1, "maximize": -1}
        found = {name: resolved(name, metrics) for name in self.objectives}
        return [
            math.nan if found[name] is None else signs[direction] * metrics[str(found[name])]
            for name, direction in self.objectives.items()
        ]


class Trials:
    """An Optuna study, asked and told."""

    def __init__(self, study: Any, objectives: Mapping[str, str], optuna: Any) -> None:
        self.study, self.objectives, self.optuna = study, objectives, optuna

    def ask(self, axes: Sequence[Axis], words: Words | None = None) -> tuple[Any, dict[str, str]]:
        """A trial, and its point, a word for each axis: these ``words``, or what the sampler thinks best."""
        if words is not None:
            self.study.enqueue_trial({axis.key: _number(axis, words[axis.key]) for axis in axes})
        trial = self.study.ask()
        return trial, {axis.key: _suggested(trial, axis) for axis in axes}

    def tell(self, trial: Any, metrics: Mapping[str, float] | None) -> None:
        """What came of it; None where it failed. ConfigError if it was not measured by the objectives."""
        if metrics is None:
            self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
            return
        found = {name: resolved(name, metrics) for name in self.objectives}
        lacking = [name for name, known in found.items() if known is None]
        if lacking:
            raise ConfigError(
                f"hydra.sweeper: {', '.join(lacking)} was not measured; there are {', '.join(metrics)}"
            )
        values = [metrics[known] for known in found.values() if known is not None]
        if any(math.isnan(value) for value in values):
            self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(trial, values)


def _suggested(trial: Any, axis: Axis) -> str:
    if axis.words:
        return trial.suggest_categorical(axis.key, axis.values())
    if axis.is_whole:
        step = 1 if axis.log else int(axis.step or 1)
        found = trial.suggest_int(axis.key, int(axis.low), int(axis.high), step=step, log=axis.log)
    else:
        found = trial.suggest_float(axis.key, axis.low, axis.high, step=axis.step, log=axis.log)
    return axis.word(found)


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether these costs are nowhere above those and somewhere below them."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _number(axis: Axis, word: str) -> str | int | float:
    """A word as Optuna knows it."""
    if axis.words:
        return word
    return int(word) if axis.is_whole else float(word)
