"""Write the notebook of a study of adapters from finished runs; no number in it is copied by hand.

    python experiments/write_adapters.py lora_digits RUN ... --metrics class_accuracy fd_judge --pictures 10

A row a run: what is trained and how long, the share of the parameters, each metric, and, where a full
training is no more than compared with, how much of the way it goes that all weights together go, from the
run at scale 0 to the longest of ``adapter=full``; with a prior in some runs, or texts of their own, which.
Fills the part of experiments/STUDY/README.md between its two markers; writes results.csv, and scales.png:
the same samples at every scale that one adapter was drawn at, or with ``--each`` those of every run, below
real pictures of one side of the data with ``--real``.
"""

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from write import HERE, fill, made_by

from condiff.data.pictures import decode
from condiff.data.shards import Shards
from condiff.reports.grid import grid
from condiff.reports.runs import FLOOR, Run
from condiff.reports.tables import number
from condiff.stages.run_folders import read_run

TRAINED = ["trained", "rank", "steps", "scale", "parameters"]
VARIED = ["prior", "asked"]  # shown where they differ
LEFT = ["seed", "metric", "value", "low", "high", "n", "protocol", "share_of_full", "metrics_key"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--metrics", nargs="+", required=True, help="names of metrics, a column each")
    parser.add_argument("--pictures", type=int, default=10, help="samples that are shown at each scale")
    parser.add_argument("--each", action="store_true", help="samples of every run")
    parser.add_argument("--real", choices=["train", "held_out"], help="real pictures above the samples")
    args = parser.parse_args()
    runs = sorted(map(read_run, args.runs), key=_place)
    home = HERE / args.study
    _write_results(home / "results.csv", runs, args.metrics)
    shown = runs if args.each else _of_one_adapter(runs)
    _scales(shown, args.pictures, args.real).save(home / "scales.png", optimize=True)
    floors = {name: f"{name}{FLOOR}" for name in args.metrics if f"{name}{FLOOR}" in runs[0].metrics}
    real = [f"`{name}` {number(_value(runs[0], floor))}" for name, floor in floors.items()]
    told = f" Real pictures reach {', '.join(real)}." if real else ""
    table = _table(runs, args.metrics)
    fill(home / "README.md", [table, f"{made_by(runs[0])}{told}", "![samples at every scale](scales.png)"])
    print(f"{home / 'README.md'}: {len(runs)} runs")


def _table(runs: Sequence[Run], metrics: Sequence[str]) -> str:
    rows = [
        _told(run, runs) | {column: cell for name in metrics for column, cell in _measured(run, runs, name)}
        for run in runs
    ]
    head = [column.partition("\0")[0] for column in rows[0]]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row.values())} |" for row in rows)])


def _measured(run: Run, runs: Sequence[Run], name: str) -> list[tuple[str, str]]:
    """A metric, and its share of what a full training gains where there is one beside others."""
    share = _share(run, runs, name)
    found = [(name, number(_value(run, name)))]
    return found if share is None else [*found, (f"of full\0{name}", f"{share + 0:.0%}")]


def _write_results(path: Path, runs: Sequence[Run], metrics: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*_told(runs[0], runs), *LEFT], lineterminator="\n")
        writer.writeheader()
        for run in runs:
            for name, metric in run.metrics.items():
                low, high = metric["interval"] or ("", "")
                share = _share(run, runs, name) if name in metrics else None
                own = {"metric": name, "value": metric["value"], "low": low, "high": high}
                own |= {
                    "n": metric["n"],
                    "protocol": metric["protocol"],
                    "share_of_full": "" if share is None else f"{share:.4g}",
                }
                key = {"seed": run.config["seed"], "metrics_key": run.stages["metrics"]["key"]}
                writer.writerow({**_told(run, runs), **own, **key})


def _told(run: Run, runs: Sequence[Run]) -> dict[str, str]:
    """What a run is, in words, by column; of what differs in no run nothing."""
    differs = [name for name in VARIED if len({_varied(one)[name] for one in runs}) > 1]
    return {**{name: _varied(run)[name] for name in differs}, **_trained(run)}


def _varied(run: Run) -> dict[str, str]:
    prior, text = run.config["prior"], run.config["text"]
    return {"prior": "none" if prior is None else f"{prior['weight']:g}", "asked": str(text or "held-out")}


def _trained(run: Run) -> dict[str, str]:
    """In words, by column."""
    own, left = run.config["adapter"], Path(run.stages["adapter"]["path"])
    tuning, model = own["tuning"], json.loads((left / "model.json").read_text())
    cells = [_what(tuning), str(tuning.get("rank", "–")), str(own["trainer"]["steps"]), f"{own['scale']:g}"]
    return dict(zip(TRAINED, [*cells, f"{_of_the_base(tuning, model):.1%}"], strict=True))


def _of_the_base(tuning: Mapping[str, Any], model: Mapping[str, int]) -> float:
    """What is trained as a share of the base, beside whose parameters those of a low rank are."""
    beside = model["trainable"] if "kinds" in tuning else 0
    return model["trainable"] / (model["parameters"] - beside)


def _what(tuning: Mapping[str, Any]) -> str:
    if "kinds" not in tuning:
        return "all weights"
    return " ".join(tuning["names"] or tuning["kinds"])


def _share(run: Run, runs: Sequence[Run], name: str) -> float | None:
    """How far a run is on the way from the base to the longest training of all weights; None without one."""
    base = next(one for one in runs if one.config["adapter"]["scale"] == 0)
    whole = [_what(one.config["adapter"]["tuning"]) == "all weights" for one in runs]
    full = [one for one, is_whole in zip(runs, whole, strict=True) if is_whole]
    if all(whole):
        return None
    start = _value(base, name)
    return (_value(run, name) - start) / (_value(full[-1], name) - start) if full else None


def _place(run: Run) -> tuple[bool, int, str, int, str, str, float]:
    """All weights last, the fewest parameters first."""
    own = run.config["adapter"]
    model = json.loads((Path(run.stages["adapter"]["path"]) / "model.json").read_text())
    what = _what(own["tuning"])
    prior, text = _varied(run).values()
    steps, is_whole = own["trainer"]["steps"], what == "all weights"
    return is_whole, model["trainable"], what, steps, prior, text, own["scale"]


def _of_one_adapter(runs: Sequence[Run]) -> list[Run]:
    """Those that draw with the adapter that is also drawn at scale 0."""
    base = next(run for run in runs if run.config["adapter"]["scale"] == 0)
    return [run for run in runs if run.stages["adapter"]["key"] == base.stages["adapter"]["key"]]


def _scales(runs: Sequence[Run], count: int, side: str | None) -> Any:
    labels, shown = [], []
    for run in runs:
        made, label = (
            load_file(Path(run.stages["samples"]["path"]) / "samples.safetensors"),
            _label(run, runs),
        )
        rows = {label: made["image"]}
        if "class" in made:
            rows |= {f"class, {label}": made["class"], "class, base": made["class_of_base"]}
        for name, images in rows.items():
            if name != "class, base" or name not in labels:  # which is the same beside each
                labels.append(name)
                shown.append(np.moveaxis(images[:count], 1, -1))
    if side is not None:
        shards = Shards.open(Path(runs[0].stages["data"]["path"]), side)
        real = [np.asarray(decode(shards.read(row % len(shards), "png"))) for row in range(count)]
        shown, labels = [np.stack(real), *shown], ["real", *labels]
    return grid(np.concatenate(shown), count, row_labels=labels, scale=2)


def _label(run: Run, runs: Sequence[Run]) -> str:
    """What tells a row from the others; of what is asked for the words that not all have."""
    told, scale = _told(run, runs), f"scale {run.config['adapter']['scale']:g}"
    places = zip(*(_varied(one)["asked"].split() for one in runs), strict=False)
    same = [*takewhile(lambda words: len({*words}) == 1, places)]
    asked = [" ".join(told["asked"].split()[len(same) :])] if "asked" in told else []
    prior = [f"prior {told['prior']}".replace("prior none", "no prior")] if "prior" in told else []
    differ = len({_told(one, runs)["trained"] for one in runs}) > 1
    return ", ".join([*([told["trained"]] if differ else []), *asked, *prior, scale])


def _value(run: Run, name: str) -> float:
    return float(run.metrics[name]["value"])


if __name__ == "__main__":
    main()
