"""results.csv: one line a number, written and read back."""

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FILE = Path(__file__).with_name("results.csv")
PLAIN = "nothing"  # the disturbance of strength 0


@dataclass(frozen=True)
class Row:
    disturbance: str
    strength: float
    draw: int
    features: str
    measure: str
    value: float
    low: float | None  # of a 95 % interval, where the measure has one
    high: float | None
    n: int
    caveat: str


def write(rows: Iterable[Row]) -> None:
    with FILE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Row))
        for row in rows:
            values = asdict(row).values()
            writer.writerow(f"{value:.6g}" if isinstance(value, float) else value for value in values)


def read() -> list[Row]:
    with FILE.open(newline="", encoding="utf-8") as file:
        return [_row(line) for line in csv.DictReader(file)]


def _row(line: dict[str, str]) -> Row:
    low, high = (float(line[end]) if line[end] else None for end in ("low", "high"))
    return Row(
        line["disturbance"],
        float(line["strength"]),
        int(line["draw"]),
        line["features"],
        line["measure"],
        float(line["value"]),
        low,
        high,
        int(line["n"]),
        line["caveat"],
    )
