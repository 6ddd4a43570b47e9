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
        n = next(row.n for row in rows if (row.disturbance, row.features) == (PLAIN, features))
        parts += [f"**In features of `{features}`, n = {n:,}.**", disturbances(rows, features)]
    parts += ["**n undisturbed digits**, mean ± standard deviation over draws.", counts(rows)]
    parts += ["**1,500 undisturbed digits against 1,500 real ones.**", control(rows)]
    parts += ["**Squared 2-Wasserstein distances**, mean over draws.", transport(rows)]
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


def counts(rows: Sequence[Row]) -> str:
    own = [row for row in rows if row.disturbance == "count"]
    kinds = {"fd": "Frechet", "fd_infinity": "Frechet ∞", "kid": "kernel"}
    lines = [
        [f"{n:,}", *_drawn([row for row in own if row.n == n], kinds)]
        for n in dict.fromkeys(row.n for row in own)
    ]
    return _table(["n", *_heads(kinds)], lines)


def control(rows: Sequence[Row]) -> str:
    kinds = {"fd": "Frechet", "kid": "kernel"}
    names = ("train, equal classes", "held out, equal classes", "train, random classes")
    lines = [[name, *_drawn([row for row in rows if row.disturbance == name], kinds)] for name in names]
    return _table(["against", *_heads(kinds)], lines)


def _heads(kinds: Mapping[str, str]) -> list[str]:
    return [f"{kind}, {features}" for features in FEATURES for kind in kinds.values()]


def _drawn(rows: Sequence[Row], kinds: Mapping[str, str]) -> list[str]:
    return [
        _spread([row.value for row in rows if (row.features, row.measure) == (features, kind)])
        for features in FEATURES
        for kind in kinds
    ]


def transport(rows: Sequence[Row]) -> str:
    own = [row for row in rows if row.disturbance == "transport"]
    lines = []
    for pair in dict.fromkeys(row.features for row in own):
        here = [row for row in own if row.features == pair]
        exact = {row.measure: number(row.value) for row in here if not row.n}
        for kind, words in {"transport": "best matching", "moments": "formula on moments"}.items():
            means = [number(row.value) for row in here if row.measure == kind]
            lines.append([pair, exact["known"], exact["formula"], words, *means])
    counts = dict.fromkeys(row.n for row in own if row.n)
    return _table(["pair", "true", "formula", "of samples", *(f"n = {n:,}" for n in counts)], lines)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    return f"{number(fmean(values))} ± {number(stdev(values))}" if len(values) > 1 else number(values[0])


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [f"| {' | '.join(line)} |" for line in (heads, *lines)]
    return "\n".join([rows[0], "|" + "---|" * len(heads), *rows[1:]])
