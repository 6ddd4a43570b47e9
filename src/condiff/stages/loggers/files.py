"""Rows in the run folder: log.jsonl while a run goes on, and tables for a spreadsheet."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condiff.files import written_whole
from condiff.stages.loggers.logger import Outcome, Told, Training
from condiff.stages.stage import LOG


class JsonLines:
    """``log.jsonl``: one object a logged step, as the stages of the run log them."""

    def start(self, told: Told) -> None:
        self.path = told.folder / LOG
        self.path.write_text("", encoding="utf-8")

    def begin(self, training: Training) -> None:
        self.stage = training.stage

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": self.stage, "step": step, **values}) + "\n")

    def picture(self, step: int, path: Path) -> None: ...

    def end(self) -> None: ...

    def result(self, outcome: Outcome) -> None: ...

    def finish(self, exit_code: int) -> None: ...


class Tables:
    """``log.STAGE.csv``, a line a logged step, and ``metrics.csv``, a line a metric."""

    def start(self, told: Told) -> None:
        self.folder = told.folder

    def begin(self, training: Training) -> None:
        self.path = self.folder / f"log.{training.stage}.csv"
        self.rows: list[Mapping[str, Any]] = []
        self.columns: list[str] = []

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """A column that was not there before makes the table anew, with empty places above."""
        row = {"step": step, **values}
        self.rows.append(row)
        new = [name for name in row if name not in self.columns]
        if new:
            self.columns += new
            _write(self.path, self.columns, self.rows)
            return
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, self.columns, lineterminator="\n").writerow(row)

    def picture(self, step: int, path: Path) -> None: ...

    def end(self) -> None: ...

    def result(self, outcome: Outcome) -> None:
        rows = [_flat(name, metric) for name, metric in outcome.metrics.items()]
        _write(self.folder / "metrics.csv", ["metric", "value", "n", "low", "high", "protocol"], rows)

    def finish(self, exit_code: int) -> None: ...


def _flat(name: str, metric: Mapping[str, Any]) -> dict[str, Any]:
    low, high = metric["interval"] or (None, None)
    kept = {key: metric[key] for key in ("value", "n", "protocol")}
    return {"metric": name, **kept, "low": low, "high": high}


def _write(path: Path, columns: list[str], rows: list[Any]) -> None:
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
