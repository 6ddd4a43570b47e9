"""What a sweep leaves: its table, its page and its run in wandb."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from condiff.config.compose import Command
from condiff.reports.tables import palette_for, sweep_table, table
from condiff.stages.comparison import write_comparison
from condiff.stages.driver import command_line
from condiff.stages.loggers.sweep import log_sweep
from condiff.stages.run_folders import LEDGER
from condiff.sweeps.ledger import DONE, FAILED, WAITING, Ledger


def tell(ledger: Ledger, best: Sequence[int]) -> None:
    """The table of the jobs that are done, that of the best of a search, and that of those that failed.

    A sweep that was stopped says how many are still to be run.
    """
    palette, names = palette_for(sys.stdout), ledger.names()
    for title, places in (("", ledger.places(DONE)), ("\nbest", best)):
        if places:
            metrics = [ledger.entries[place].metrics for place in places]
            print(f"{title}\n{sweep_table([names[place] for place in places], metrics, palette)}", flush=True)
    failed = [(place, ledger.entries[place]) for place in ledger.places(FAILED)]
    if failed:
        rows = [[str(place), names[place], str(entry.code), entry.error] for place, entry in failed]
        print(f"\n{table(['job', 'failed', 'code', 'what it said'], rows, palette)}", flush=True)
    waiting = len(ledger.places(WAITING))
    if waiting:
        print(f"\n{waiting} of {len(names)} jobs are still to be run", flush=True)
    print(f"\nledger: {ledger.folder / LEDGER}", flush=True)


def compare(ledger: Ledger, command: Command) -> Path | None:
    """The page over the jobs that are done; None where there are too few."""
    names, cfg = ledger.names(), command.runs[0].cfg
    folders = [ledger.folder / ledger.entries[place].folder for place in ledger.places(DONE)]
    failed = [(names[place], ledger.entries[place].error) for place in ledger.places(FAILED)]
    return write_comparison(
        folders, ledger.folder, cfg["name"], cfg["question"], command_line(sys.argv), failed
    )


def log(ledger: Ledger, command: Command) -> None:
    """The jobs that are done as rows of what differs between them and of their metrics."""
    cfg, done = command.runs[0].cfg, [ledger.entries[place] for place in ledger.places(DONE)]
    settings = [_settings(ledger.own(entry)) for entry in done]
    rows = [own | dict(entry.metrics) for own, entry in zip(settings, done, strict=True)]
    axes = dict.fromkeys(key for own in settings for key in own)
    log_sweep(cfg["logger"], ledger.folder.name, cfg["name"], ledger.folder, rows, [*axes])


def _settings(overrides: Sequence[str]) -> dict[str, Any]:
    pairs = (text.partition("=") for text in overrides)
    return {key: _plain(value) for key, _, value in pairs}


def _plain(word: str) -> Any:
    """A number, or the word as it stands."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(word)
    return word
