"""The tables of the README, out of the rows of results.csv alone."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from results import PLAIN, Row

from condiff.reports.tables import number

FEATURES = ("judge", "efficientnet_lite0 body")
HEADS = {
    "fd": "Frechet",
    "kid": "kernel",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "memorised": "copied",
    "memorised_authenticity": "authentic",
    "vendi": "Vendi",
}
UNITS = {
    "blur": "σ {:g} px",
    "noise": "σ {:g}",
    "swirl": "{:g} rad",
    "classes left out": "{:g} of 10",
    "training copies": "{:.0%}",
    "repeats": "{:g} times each",
}


def tables(rows: Sequence[Row]) -> str:
    parts = []
    for features in FEATURES:
        parts += [
            f"In features of `{features}`, n = {_plain(rows, features).n:,}:",
            disturbances(rows, features),
        ]
    parts += ["The same 1,500 held-out digits against 1,500 others:", control(rows)]
    parts += ["Of n held-out digits, mean ± standard deviation over draws:", counts(rows)]
    parts += ["Squared 2-Wasserstein distances, mean over draws:", transport(rows)]
    return "\n\n".join(parts)


def disturbances(rows: Sequence[Row], features: str) -> str:
    lines = []
    for disturbance in (PLAIN, *UNITS):
        own = [row for row in rows if (row.disturbance, row.features) == (disturbance, features)]
        for strength in dict.fromkeys(row.strength for row in own):
            found = {row.measure: number(row.value) for row in own if row.strength == strength}
            unit = UNITS.get(disturbance, "").format(strength)
            lines.append([f"{disturbance} {unit}".strip(), *(found[name] for name in HEADS)])
    return _table(["disturbance", *HEADS.values()], lines)


def control(rows: Sequence[Row]) -> str:
    lines = []
    for name in ("against train", "against held out"):
        own = {(row.features, row.measure): number(row.value) for row in rows if row.disturbance == name}
        lines.append(
            [name, *(own[features, kind] for features in FEATURES for kind in ("fd", "fd_infinity", "kid"))]
        )
    heads = [f"{kind}, {features}" for features in FEATURES for kind in ("Frechet", "Frechet ∞", "kernel")]
    return _table(["real set", *heads], lines)


def counts(rows: Sequence[Row]) -> str:
    lines = []
    own = [row for row in rows if row.disturbance == "count"]
    for n in dict.fromkeys(row.n for row in own):
        drawn = [
            [row.value for row in own if (row.n, row.features, row.measure) == (n, features, kind)]
            for features in FEATURES
            for kind in ("fd", "fd_infinity", "kid")
        ]
        lines.append([f"{n:,}", *map(_spread, drawn)])
    heads = [f"{kind}, {features}" for features in FEATURES for kind in ("Frechet", "Frechet ∞", "kernel")]
    return _table(["n", *heads], lines)


def transport(rows: Sequence[Row]) -> str:
    own = [row for row in rows if row.disturbance == "transport"]
    lines = []
    for pair in dict.fromkeys(row.features for row in own):
        here = [row for row in own if row.features == pair]
        exact: Mapping[str, str] = {row.measure: number(row.value) for row in here if not row.n}
        for kind in ("transport", "moments"):
            found = [(row.n, row.value) for row in here if row.measure == kind]
            means = [fmean(value for m, value in found if m == n) for n in dict.fromkeys(n for n, _ in found)]
            what = "optimal matching" if kind == "transport" else "formula on moments"
            lines.append([pair, exact["known"], exact["formula"], what, *map(number, means)])
    shown = dict.fromkeys(row.n for row in own if row.n)
    return _table(["pair", "true", "formula", "of samples", *(f"n = {n}" for n in shown)], lines)


def _plain(rows: Sequence[Row], features: str) -> Row:
    return next(row for row in rows if (row.disturbance, row.features) == (PLAIN, features))


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    return f"{number(fmean(values))} ± {number(stdev(values))}" if len(values) > 1 else number(values[0])


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [f"| {' | '.join(line)} |" for line in (heads, *lines)]
    return "\n".join([rows[0], "|" + "---|" * len(heads), *rows[1:]])
