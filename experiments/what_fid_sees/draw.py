"""The figures and the tables of the README, out of results.csv.

python experiments/what_fid_sees/draw.py
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

from page import FEATURES, UNITS, tables
from panels import Band, Line, Panel, svg
from results import PLAIN, Row, read

from condiff.reports.axes import Axis, linear_axis

HERE = Path(__file__).parent
BEGIN, END = "<!-- written by draw.py -->", "<!-- end -->"
LABELS = {
    "blur": "σ in pixels",
    "noise": "σ (pixels in [-1, 1])",
    "swirl": "radians in the middle",
    "classes left out": "of ten classes",
    "training copies": "share of the set",
    "repeats": "times each picture",
}
NAMES = {"judge": "judge", "efficientnet_lite0 body": "EfficientNet-Lite0"}


def main() -> None:
    rows = read()
    figures = {"distances": distances(rows), "neighbours": neighbours(rows)}
    figures |= {"count": [count(rows)], "transport": [transport(rows)]}
    for name, bands in figures.items():
        (HERE / f"{name}.svg").write_text(svg(bands), encoding="utf-8")
    page = HERE / "README.md"
    text = page.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{tables(rows)}\n{END}{after}", encoding="utf-8")


def distances(rows: Sequence[Row]) -> list[Band]:
    """How far the two distances rise above what undisturbed pictures get."""
    powers = Axis(0.1, 1000, 0, 0, [0.1, 1, 10, 100, 1000], math.log10)
    errors = Axis(-10, 30000, 0, 0, [0, 10, 100, 1000, 10000], lambda value: math.asinh(value / 2))
    return [
        band(rows, "Frechet ÷ undisturbed", [(features, "fd") for features in FEATURES], over_floor, powers),
        band(rows, "kernel, std. errors", [(features, "kid") for features in FEATURES], in_errors, errors),
    ]


def neighbours(rows: Sequence[Row]) -> list[Band]:
    """What is said by neighbourhoods, in the judge's features and in those of ImageNet."""
    share = Axis(0, 1.5, 0, 0, [0, 0.5, 1, 1.5])
    kinds = ("precision", "recall", "density", "coverage")
    bands = [
        band(
            rows, f"÷ undisturbed, {NAMES[features]}", [(features, kind) for kind in kinds], over_floor, share
        )
        for features in FEATURES
    ]
    copies = [("judge", kind) for kind in ("memorised", "memorised_authenticity", "vendi")]
    return [*bands, band(rows, "copies, judge", copies, absolute_share, share)]


def over_floor(row: Row, floor: Row) -> float:
    return row.value / floor.value


def in_errors(row: Row, floor: Row) -> float:
    """Above the floor, in standard errors of the floor: the kernel distance is near zero there, or below."""
    return (row.value - floor.value) / (half_width(floor) / 1.96)


def half_width(row: Row) -> float:
    assert row.low is not None
    assert row.high is not None
    return (row.high - row.low) / 2


def absolute_share(row: Row, floor: Row) -> float:
    """A share as it is; what is none, over its floor."""
    return row.value if row.measure == "memorised" else row.value / floor.value


WORDS = {
    "fd": "Frechet distance",
    "kid": "kernel distance",
    "memorised": "share told to be copies",
    "memorised_authenticity": "authenticity ÷ undisturbed",
    "vendi": "Vendi score ÷ undisturbed",
}


def band(
    rows: Sequence[Row],
    name: str,
    measures: Sequence[tuple[str, str]],
    scaled: Callable[[Row, Row], float],
    axis: Axis,
) -> Band:
    found = {(row.disturbance, row.features, row.measure, row.strength): row for row in rows if not row.draw}
    panels = []
    for disturbance in UNITS:
        strengths = dict.fromkeys(row.strength for row in rows if row.disturbance == disturbance)
        lines = []
        for features, kind in measures:
            floor = found[PLAIN, features, kind, 0.0]
            sets = [floor, *(found[disturbance, features, kind, strength] for strength in strengths)]
            several = len({features for features, _ in measures}) > 1
            words = f"{WORDS[kind]}, {NAMES[features]}" if several else WORDS.get(kind, kind)
            lines.append(Line(words, [(float(k), scaled(row, floor)) for k, row in enumerate(sets)]))
        first = "1" if disturbance == "repeats" else "0"
        ticks = [(float(k), words) for k, words in enumerate([first, *(f"{s:g}" for s in strengths)])]
        panels.append(Panel(disturbance, lines, ticks, LABELS[disturbance], partial(_between, axis)))
    return Band(name, panels)


def _between(axis: Axis, start: float, end: float) -> Axis:
    return Axis(axis.low, axis.high, start, end, axis.ticks, axis.place)


def count(rows: Sequence[Row]) -> Band:
    """Over 1/n, where a bias in 1/n is a straight line."""
    own = [row for row in rows if row.disturbance == "count"]
    ticks = [(1 / n, f"{n}") for n in (3000, 400, 200, 100)]
    panels = []
    for features in FEATURES:
        for what, kinds in {"Frechet": ("fd", "fd_infinity"), "kernel": ("kid",)}.items():
            lines = [_over_count(own, features, kind) for kind in kinds]
            colours = (0, 1) if len(kinds) > 1 else (2,)
            title = f"{what}, {NAMES[features]}"
            panels.append(Panel(title, lines, ticks, "n, spaced as 1/n", partial(_fitting, lines), colours))
    return Band("distance", panels)


def _over_count(rows: Sequence[Row], features: str, kind: str) -> Line:
    words = {
        "fd": "Frechet of n pictures",
        "fd_infinity": "extrapolated to infinity",
        "kid": "kernel of n pictures",
    }
    own = [row for row in rows if (row.features, row.measure) == (features, kind)]
    drawn = {n: [row.value for row in own if row.n == n] for n in dict.fromkeys(row.n for row in own)}
    points = [(1 / n, fmean(values)) for n, values in drawn.items()]
    return Line(words[kind], points, [stdev(values) if len(values) > 1 else 0.0 for values in drawn.values()])


def _fitting(lines: Sequence[Line], start: float, end: float) -> Axis:
    """An axis that holds 0, all points and their error bars."""
    values = [0.0]
    for line in lines:
        halves = line.spread or [0.0] * len(line.points)
        values += [
            y + sign * half for (_, y), half in zip(line.points, halves, strict=True) for sign in (1, -1)
        ]
    return linear_axis(values, start, end)


def transport(rows: Sequence[Row]) -> Band:
    own = [row for row in rows if row.disturbance == "transport"]
    pairs = dict.fromkeys(row.features for row in own)
    return Band(
        "squared distance", [_pair(pair, [row for row in own if row.features == pair]) for pair in pairs]
    )


def _pair(name: str, rows: Sequence[Row]) -> Panel:
    counts = [math.log2(n) for n in dict.fromkeys(row.n for row in rows if row.n)]
    lines = []
    for kind, words in (("transport", "best matching of n samples"), ("moments", "formula on their moments")):
        own = [row for row in rows if row.measure == kind]
        points = [(math.log2(row.n), row.value) for row in own]
        lines.append(Line(words, points, [half_width(row) for row in own]))
    for kind, words, dashed in (("formula", "formula", 6), ("known", "true distance", 12)):
        value = next(row.value for row in rows if row.measure == kind)
        lines.append(Line(words, [(counts[0], value), (counts[-1], value)], dashed=dashed))
    ticks = [(at, f"{2**at:.0f}") for at in counts[::2]]
    return Panel(name, lines, ticks, "samples n", partial(_fitting, lines))


if __name__ == "__main__":
    main()
