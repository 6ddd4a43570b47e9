"""A sweep: its jobs, what is missing of them, and what they leave together."""

import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from condiff.config.build import build
from condiff.config.compose import Command, Planned
from condiff.files import digest, read_json
from condiff.interrupts import Interrupted, Interrupts
from condiff.reports.redact import redact
from condiff.reports.tables import duration
from condiff.stages.driver import command_line, planned_keys
from condiff.sweeps.job import OUTCOME, OUTPUT, Job, Outcome
from condiff.sweeps.launchers import InProcess, Launcher
from condiff.sweeps.ledger import DONE, FAILED, RUNNING, Entry, Ledger, open_ledger
from condiff.sweeps.results import compare, log, tell
from condiff.sweeps.searching import num_jobs, searched

FAILED_STAGES = ".failed"  # folder of the stages that failed in this attempt
EXIT_CODE = 9  # of a sweep with failed jobs


def run_sweep(command: Command, program: str, interrupts: Interrupts) -> int:
    """Run what is missing of a sweep and leave its table; 9 if jobs have failed, else 0.

    ``program`` is what the command line begins with.
    """
    ledger = open_ledger(
        Path(command.folder).absolute(),
        command.is_named,
        _identity(command),
        command_line(sys.argv),
        len(command.runs) if command.search is None else num_jobs(command.search),
    )
    ledger.axes = [key.lstrip("+") for key in command.axes]
    try:
        shutil.rmtree(ledger.folder / FAILED_STAGES, ignore_errors=True)
        sweep = Sweep(ledger, [program, *command.flags], launcher_of(command), interrupts)
        print(f"sweep: {ledger.folder}", flush=True)
        if command.search is None:
            sweep.run_at(range(len(command.runs)), command.runs, total=len(command.runs))
            best = []
        else:
            best = searched(sweep, command.search)
        tell(ledger, best)
        page = compare(ledger, command)
        if page is None:
            print("comparison: none; it is of two jobs or more that are done and measured", flush=True)
        else:
            print(f"comparison: {page}", flush=True)
            log(ledger, command)
        return EXIT_CODE if ledger.places(FAILED) else 0
    except Interrupted:
        ledger.stop()
        with suppress(OSError):  # whoever read the output may be gone with the same Ctrl-C
            tell(ledger, [])
        raise
    except BaseException:
        ledger.stop()
        raise
    finally:
        ledger.close()


def launcher_of(command: Command) -> Launcher:
    """What runs its jobs; this process where the command does not say."""
    return build(command.launcher, "hydra.launcher") if command.launcher else InProcess()


class Sweep:
    """The jobs of a ledger, run by a launcher as they are given."""

    def __init__(
        self, ledger: Ledger, words: Sequence[str], launcher: Launcher, interrupts: Interrupts
    ) -> None:
        self.ledger, self.words, self.launcher, self.interrupts = ledger, words, launcher, interrupts
        self.is_told = False  # that there are jobs of an earlier attempt

    def run_at(self, places: Sequence[int], runs: Sequence[Planned], total: int) -> list[Entry]:
        """What became of the jobs at these places; one that an earlier attempt has done is not done again."""
        for place, run in zip(places, runs, strict=True):
            self.enter(place, run)
        self.ledger.write()
        missing = [
            (place, run)
            for place, run in zip(places, runs, strict=True)
            if self.ledger.entries[place].status != DONE
        ]
        if len(missing) < len(runs) and not self.is_told:
            print(f"{len(self.ledger.places(DONE))} of {total} jobs are done already", flush=True)
            self.is_told = True  # a search comes here once a trial
        if missing:
            jobs = [self._job(place, run) for place, run in missing]
            for job in jobs:
                _clear(Path(job.folder))
            followed = Followed(self.ledger, [place for place, _ in missing], total, self.launcher.is_apart)
            self.launcher(jobs, followed, self.interrupts)
        return [self.ledger.entries[place] for place in places]

    def enter(self, place: int, run: Planned) -> None:
        """A new job, or an old one if it is the same, done by this code and still there."""
        old = self.ledger.entries[place] if place < len(self.ledger.entries) else None
        new = Entry(str(place), redact(list(run.overrides)))
        if old is None:
            self.ledger.entries.append(new)
            return
        there = (self.ledger.folder / old.folder / "report.html").is_file()
        same = self.ledger.own(old) == self.ledger.own(new)  # the rest changes no result, as in ``_identity``
        if not (same and old.status == DONE and there and dict(old.keys) == planned_keys(run.cfg)):
            self.ledger.entries[place] = new

    def _job(self, place: int, run: Planned) -> Job:
        folder = self.ledger.folder / self.ledger.entries[place].folder
        alone = command_line([*self.words, *run.overrides])
        logger = run.cfg["logger"]
        cfg = {**run.cfg, "logger": {**logger, "group": logger["group"] or self.ledger.folder.name}}
        return Job(cfg, run.overrides, alone, str(folder), str(self.ledger.folder / FAILED_STAGES))


class Followed:
    """Writes how the jobs fare into the ledger, and says so."""

    def __init__(self, ledger: Ledger, places: Sequence[int], total: int, is_apart: bool) -> None:
        self.ledger, self.places, self.total, self.is_apart = ledger, places, total, is_apart

    def started(self, place: int) -> None:
        mine = self.places[place]
        output = self.ledger.folder / self.ledger.entries[mine].folder / OUTPUT
        where = f", which prints to {output}" if self.is_apart else ""
        print(f"\n[{mine + 1}/{self.total}] {self._named(mine)}{where}", flush=True)
        self.ledger.set(mine, status=RUNNING, code=None, error="")

    def ended(self, place: int, outcome: Outcome) -> None:
        mine = self.places[place]
        changes = {"code": outcome.code, "seconds": outcome.seconds}
        if outcome.error:
            self.ledger.set(mine, status=FAILED, error=outcome.error[0], **changes)
            print(f"job {mine}, {self._named(mine)}:", *outcome.error, sep="\n", file=sys.stderr, flush=True)
        else:
            found = _left(self.ledger.folder / self.ledger.entries[mine].folder)
            self.ledger.set(mine, status=DONE, **changes, **found)
            print(f"job {mine}, {self._named(mine)}: done in {duration(outcome.seconds)}", flush=True)

    def _named(self, place: int) -> str:
        return self.ledger.names()[place]


def _identity(command: Command) -> str:
    """Of what makes the results: other workers or loggers, or a longer search, make no other sweep."""
    science = [
        {key: part for key, part in run.cfg.items() if key not in ("runtime", "logger")}
        for run in command.runs
    ]
    search = command.search
    if search is None:
        return digest([science, None])
    goal = {key: value for key, value in search.sweeper.items() if key != "num_trials"}
    return digest([science, [goal, [asdict(axis) for axis in search.axes]]])


def _clear(folder: Path) -> None:
    """What an earlier attempt said of itself is not to be taken for what this one says."""
    for name in (OUTCOME, "stages.json", "metrics.json", "report.html"):
        (folder / name).unlink(missing_ok=True)


def _left(folder: Path) -> dict[str, Any]:
    """The keys and the metrics that a job has left in its folder."""
    try:
        stages, metrics = read_json(folder / "stages.json"), read_json(folder / "metrics.json")
    except (OSError, ValueError):
        return {"keys": {}, "metrics": {}}
    return {
        "keys": {name: stage["key"] for name, stage in stages.items()},
        "metrics": {name: metric["value"] for name, metric in metrics.items()},
    }
