"""What the terminal shows: the tree of stages before a run, the metrics after it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from condiff.reports.redact import printable, redact
from condiff.reports.report import Metric, Metrics, StageRow

KEY_LETTERS = 6


@dataclass(frozen=True)
class Palette:
    """The terminal codes before a word; ``plain`` ends them."""

    name: str = ""
    faint: str = ""
    cached: str = ""
    run: str = ""
    resumed: str = ""
    plain: str = ""


PLAIN = Palette()
COLOUR = Palette("\033[1m", "\033[2m", "\033[32m", "\033[33m", "\033[36m", "\033[0m")


def palette_for(stream: TextIO) -> Palette:
    """Colour where somebody looks and has not asked for none (no-color.org)."""
    wanted = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return COLOUR if wanted else PLAIN


def stage_tree(study: str, rows: Sequence[StageRow], palette: Palette = PLAIN) -> str:
    """The study and below it one line a stage: name, short key, what happens to it and why."""
    width = max((len(row.name) for row in rows), default=0)
    lines = [f"{palette.name}{_plain(study)}{palette.plain}"]
    for place, row in enumerate(rows, 1):
        branch = "└─" if place == len(rows) else "├─"
        key = f"{palette.faint}{_plain(row.key)[:KEY_LETTERS]:<{KEY_LETTERS}}{palette.plain}"
        fate = f"{getattr(palette, row.status)}{_plain(fate_of(row))}{palette.plain}"
        lines.append(f"{branch} {_plain(row.name):<{width}}  {key}  {fate}")
    return "\n".join(lines)


def fate_of(row: StageRow) -> str:
    """What happens to a stage in words, or what happened once its seconds are known."""
    if row.status == "resumed":
        words = f"resumed {row.reason}".rstrip()
    else:
        word = "to run" if row.status == "run" and row.seconds is None else row.status
        words = f"{word}: {row.reason}" if row.reason else word
    return words if row.seconds is None else f"{words}, {duration(row.seconds)}"


def duration(seconds: float) -> str:
    """Time to a tenth of a second below a minute, else in minutes or hours: ``4.2 s``, ``3 min 05 s``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def number(value: float, digits: int = 4) -> str:
    """Significant digits, four the most that a metric of some thousand samples supports: 200, not 2e+02."""
    return f"{float(f'{value:.{digits}g}'):g}"


def interval_of(metric: Metric) -> str:
    return "–" if metric["interval"] is None else f"[{', '.join(number(end) for end in metric['interval'])}]"


def metrics_table(metrics: Metrics, palette: Palette = PLAIN) -> str:
    """Aligned columns: name, value, interval, number of samples and protocol."""
    cells = [
        [name, number(metric["value"]), interval_of(metric), str(metric["n"]), metric["protocol"]]
        for name, metric in metrics.items()
    ]
    return table(["metric", "value", "interval", "n", "protocol"], cells, palette)


def sweep_table(names: Sequence[str], runs: Sequence[Mapping[str, float]], palette: Palette = PLAIN) -> str:
    """The runs of a sweep, one a line, and their metrics."""
    columns = list(dict.fromkeys(name for metrics in runs for name in metrics))
    cells = [
        [name, *(number(metrics[column]) if column in metrics else "–" for column in columns)]
        for name, metrics in zip(names, runs, strict=True)
    ]
    return table(["run", *columns], cells, palette)


def table(head: Sequence[str], cells: Sequence[Sequence[str]], palette: Palette = PLAIN) -> str:
    """Rows of text under a head; the first and the last column are set left, the others right."""
    rows = [[_plain(cell) for cell in row] for row in (head, *cells)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first, *rest = (_aligned(row, widths) for row in rows)
    rule = "  ".join("─" * width for width in widths)
    return "\n".join(
        [f"{palette.name}{first}{palette.plain}", f"{palette.faint}{rule}{palette.plain}", *rest]
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    last = len(row) - 1
    padded = (
        cell.ljust(width) if place in (0, last) else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(padded).rstrip()


def _plain(text: str) -> str:
    """One line of text: a name from a data set can neither colour the terminal nor break the table."""
    return " ".join(printable(redact(text)).split())
