"""The way of a search: no point is run twice, and a space that has an end is searched to it."""

import sys
from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any, Protocol

from condiff.config.build import build
from condiff.config.compose import Planned, Search
from condiff.config.metric_names import reported
from condiff.errors import ConfigError
from condiff.files import digest
from condiff.sweeps.launchers import Launcher
from condiff.sweeps.ledger import DONE, Entry, Ledger
from condiff.sweeps.search import Optuna

MOST_IN_VAIN = 100  # points in a row that cannot be run or are known, from which a search ends
MOST_POINTS = 10_000  # of a space that is searched to its end
STUBBORN = 10  # such points in a row, from which one of a finite space that is new is taken instead


class Runner(Protocol):
    """Runs the jobs of a ledger by their places."""

    ledger: Ledger
    launcher: Launcher

    def enter(self, place: int, run: Planned) -> None: ...

    def run_at(self, places: Sequence[int], runs: Sequence[Planned], total: int) -> list[Entry]: ...


def refuse_search(search: Search, runs: Sequence[Planned]) -> None:
    """Find before anything is made that a search cannot begin; ConfigError or EnvironmentFault.

    ``runs`` are the corners of the space, each of which is to measure every objective.
    """
    if not search.axes:
        raise ConfigError(
            "hydra/sweeper: there is nothing to search; write e.g. guidance.scale=interval(1,8)"
        )
    optuna = build(search.sweeper, "hydra.sweeper")
    for names in dict.fromkeys(tuple(reported(run.cfg)) for run in runs):
        if not names:
            raise ConfigError("hydra/sweeper: nothing is measured here; a search needs stages=[...,metrics]")
        optuna.refuse_unmeasured(names)
    optuna.begin()


def num_jobs(search: Search) -> int:
    """How many a search is to have: its trials, or all points where there are fewer."""
    size = num_points(search)
    return search.sweeper["num_trials"] if size is None else min(size, search.sweeper["num_trials"])


def num_points(search: Search) -> int | None:
    """Of the space; None where there is no end of them."""
    sizes = [axis.size for axis in search.axes]
    return None if None in sizes else prod(size for size in sizes if size is not None)


def searched(sweep: Runner, search: Search) -> list[int]:
    """Run the trials of a search, as many at once as the launcher takes; the places of the best."""
    way = Way(sweep, search, build(search.sweeper, "hydra.sweeper"))
    while way.wanted > 0 and (found := way.ahead(min(way.wanted, sweep.launcher.parallel))):
        places, runs = zip(*found, strict=True)
        sweep.run_at(places, runs, num_jobs(search))
        way.tell()
    if way.earlier:  # that was begun when other results led the search elsewhere
        places, runs = zip(*way.earlier.values(), strict=True)
        sweep.run_at(places, runs, num_jobs(search))
    if way.wanted > 0:
        print(way.end(), flush=True)
    done = sweep.ledger.places(DONE)
    return [done[k] for k in way.optuna.best([sweep.ledger.entries[place].metrics for place in done])]


class Way:
    """What a search has asked for and been told.

    Each job of an earlier attempt is one of its trials, and is taken when the search comes to it again.
    """

    def __init__(self, sweep: Runner, search: Search, optuna: Optuna) -> None:
        self.sweep, self.search, self.optuna, self.ledger = sweep, search, optuna, sweep.ledger
        self.trials, self.size = optuna.begin(), num_points(search)
        self.seen: set[tuple[str, ...]] = set()  # points asked for, also those that cannot be run
        self.places: dict[str, int] = {}  # of points asked for that can be run, by what they run
        self.asked: list[tuple[Any, int]] = []  # trials that are not told yet, and their places
        self.earlier: dict[str, tuple[int, Planned]] = {}  # jobs of an earlier attempt not asked for yet
        for place, entry in enumerate([*self.ledger.entries]):
            run = search.at(self._words(entry))
            sweep.enter(place, run)
            self.earlier[_science(run)] = (place, run)

    @property
    def wanted(self) -> int:
        """How many trials are missing."""
        return self.optuna.num_trials - len(self.places) - len(self.earlier)

    def ahead(self, count: int) -> list[tuple[int, Planned]]:
        """The next points that are new in this attempt, with their places; what is known is told at once."""
        found: list[tuple[int, Planned]] = []
        vain = 0
        while len(found) < count and vain < MOST_IN_VAIN and len(self.seen) != self.size:
            trial, words = self.trials.ask(self.search.axes, self._new() if vain >= STUBBORN else None)
            run = self._run(words)
            if run is None:
                self.trials.tell(trial, None)
            elif _science(run) in self.places:
                self.asked.append((trial, self.places[_science(run)]))
                self.tell({place for place, _ in found})
            else:
                vain = -1
                place = self._place(run)
                found.append((place, run))
                self.asked.append((trial, place))
            vain += 1
        return found

    def tell(self, running: frozenset[int] | set[int] = frozenset()) -> None:
        """Tell the trials whose jobs have ended what came of them."""
        for trial, place in [*self.asked]:
            if place not in running:
                entry = self.ledger.entries[place]
                self.trials.tell(trial, entry.metrics if entry.status == DONE else None)
                self.asked.remove((trial, place))

    def end(self) -> str:
        """Why there are fewer trials than were asked for."""
        why = f"{MOST_IN_VAIN} points in a row were tried before or cannot be run"
        if len(self.seen) == self.size:
            why = f"every point of this space has been tried, {self.size} in all"
        return f"search: {why}; it ends after {len(self.places)} of {self.optuna.num_trials} trials"

    def _run(self, words: dict[str, str]) -> Planned | None:
        """The run of a point; None where it has mistakes, which are told the first time."""
        is_new = tuple(words.values()) not in self.seen
        self.seen.add(tuple(words.values()))
        try:
            return self.search.at(words)
        except ConfigError as error:
            if is_new:
                print(error, file=sys.stderr, flush=True)
            return None

    def _place(self, run: Planned) -> int:
        """Where the ledger has it, or a new place."""
        known = self.earlier.pop(_science(run), None)
        num_new = sum(1 for place in self.places.values() if place >= len(self.ledger.entries))
        place = len(self.ledger.entries) + num_new if known is None else known[0]
        self.places[_science(run)] = place
        return place

    def _new(self) -> dict[str, str] | None:
        """The first point that was not asked for; None where there are too many to go through."""
        if self.size is None or self.size > MOST_POINTS:
            return None
        values = product(*(axis.values() for axis in self.search.axes))
        words = next((point for point in values if point not in self.seen), None)
        if words is None:
            return None
        return {axis.key: word for axis, word in zip(self.search.axes, words, strict=True)}

    def _words(self, entry: Entry) -> dict[str, str]:
        pairs = (text.partition("=") for text in entry.overrides)
        given = {key: word for key, _, word in pairs}
        return {axis.key: given[axis.key] for axis in self.search.axes}


def _science(run: Planned) -> str:
    """Of what makes the results, so that 2 and 2.0 are one point."""
    return digest({key: part for key, part in run.cfg.items() if key not in ("runtime", "logger")})
