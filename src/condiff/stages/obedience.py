"""Since when a condition is obeyed: it moves late and suddenly, and no loss shows it; no torch.

(Zhang 2023, sec. 4.2 and fig. 4: sudden convergence.)
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from condiff.evaluation.parts import REAL, SHUFFLED, USE

_WHOLE = {"_target_": "condiff.adapters.control.Even", "start": 0.0, "end": 1.0}
_QUARTER = 0.25  # of the way from the floor to the ceiling is a jump, or use of a hint; chosen here


def rows_of(log: Path) -> list[dict[str, Any]]:
    """What a stage logged, an object a step; nothing where it logged nothing."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []


def drawn_as_watched(adapter: Mapping[str, Any]) -> bool:
    """Whether the samples of a study are drawn as those were that were measured while its adapter trained."""
    control = {**(adapter.get("control") or _WHOLE)}
    return adapter.get("scale", 1.0) == 1.0 and control == _WHOLE


def obeyed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each fidelity that was measured while something trained.

    A condition is obeyed from the first measuring on since which each has been nearer to what real pictures
    reach than to what they reach with the hints of others, and by a quarter of that way nearer than samples
    are with these: what fits any hint obeys none.
    """
    return [_line(name, own) for name, own in _measured(rows)]


def since(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """NAME_obeyed_since: the step, of each fidelity whose condition is obeyed in the end."""
    return {
        f"{name}_obeyed_since": kept[-1]["step"]
        for name, own in _measured(rows)
        if (kept := _kept(name, own))
    }


def _measured(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Each fidelity with the rows that have it."""
    names = dict.fromkeys(name.removesuffix(REAL) for row in rows for name in row if name.endswith(REAL))
    return [(name, own) for name in names if (own := [row for row in rows if name in row])]


def _line(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    last, (floor, ceiling) = rows[-1], (rows[-1][f"{name}{end}"] for end in (SHUFFLED, REAL))
    ends = f"shuffled {floor:.2f}, real {ceiling:.2f}"
    fast = _jump([(row["step"], row[name]) for row in rows], ceiling - floor)
    kept = _kept(name, rows)
    if not kept:
        return f"condition not obeyed by step {last['step']:,}: {name} {last[name]:.2f} ({ends}){fast}"
    first = kept[-1]
    return (
        f"condition obeyed since step {first['step']:,}: {name} {first[name]:.2f}, {last[name]:.2f} in the"
        f" end ({ends}){fast}"
    )


def _kept(name: str, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last rows in which it is obeyed, the last first."""
    floor, ceiling = (rows[-1][f"{name}{end}"] for end in (SHUFFLED, REAL))
    least = _QUARTER * abs(ceiling - floor)

    def is_obeyed(row: Mapping[str, Any]) -> bool:
        is_near = abs(row[name] - ceiling) < abs(row[name] - floor)
        return is_near and row.get(f"{name}{USE}", least) >= least

    return [*itertools.takewhile(is_obeyed, reversed(rows))]


def _jump(points: Sequence[tuple[int, float]], way: float) -> str:
    """Between which two measurings it rose most, where that is a jump; way: from the floor to the ceiling."""
    rises = [(pair[1][1] - pair[0][1], pair) for pair in itertools.pairwise(points)]
    most, pair = max(rises, key=lambda rise: rise[0] * way, default=(0.0, None))
    if pair is None or most * way < _QUARTER * way**2 or not way:
        return ""
    (start, one), (end, other) = pair
    return f"; most between steps {start:,} and {end:,}, from {one:.2f} to {other:.2f}"
