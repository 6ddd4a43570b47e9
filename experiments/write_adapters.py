"""Write the notebook of a study of adapters from finished runs; no number in it is copied by hand.

    python experiments/write_adapters.py lora_digits RUN ... --metrics class_accuracy fd_judge --pictures 10

A row a run: what is trained and how long, the share of the parameters, each metric, and how much of the way
it goes that all weights together go, from the run at scale 0 to the longest of ``adapter=full``. Fills the
part of experiments/STUDY/README.md between its two markers; writes results.csv, and scales.png: the same
samples at every scale that one adapter was drawn at.
"""

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from write import HERE, fill, made_by

from condiff.reports.grid import grid
from condiff.reports.runs import FLOOR, Run
from condiff.reports.tables import number
from condiff.stages.run_folders import read_run

TRAINED = ["trained", "rank", "steps", "scale", "parameters"]
FIELDS = [*TRAINED, "seed", "metric", "value", "low", "high", "n", "protocol", "share_of_full", "metrics_key"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--metrics", nargs="+", required=True, help="names of metrics, a column each")
    parser.add_argument("--pictures", type=int, default=10, help="samples that are shown at each scale")
    args = parser.parse_args()
    runs = sorted(map(read_run, args.runs), key=_place)
    home = HERE / args.study
    _write_results(home / "results.csv", runs, args.metrics)
    _scales(_of_one_adapter(runs), args.pictures).save(home / "scales.png")
    floors = {name: f"{name}{FLOOR}" for name in args.metrics if f"{name}{FLOOR}" in runs[0].metrics}
    real = [f"`{name}` {number(_value(runs[0], floor))}" for name, floor in floors.items()]
    told = f" Real pictures reach {', '.join(real)}." if real else ""
    table = _table(runs, args.metrics)
    fill(home / "README.md", [table, f"{made_by(runs[0])}{told}", "![samples at every scale](scales.png)"])
    print(f"{home / 'README.md'}: {len(runs)} runs")


def _table(runs: Sequence[Run], metrics: Sequence[str]) -> str:
    head = [*TRAINED, *(column for name in metrics for column in (name, "of full"))]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for run in runs:
        cells = [*_trained(run).values()]
        for name in metrics:
            share = _share(run, runs, name)
            cells += [number(_value(run, name)), "–" if share is None else f"{share + 0:.0%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _write_results(path: Path, runs: Sequence[Run], metrics: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
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
                writer.writerow({**_trained(run), **own, **key})


def _trained(run: Run) -> dict[str, str]:
    """In words, by column."""
    own, left = run.config["adapter"], Path(run.stages["adapter"]["path"])
    tuning, model = own["tuning"], json.loads((left / "model.json").read_text())
    cells = [_what(tuning), str(tuning.get("rank", "–")), str(own["trainer"]["steps"]), f"{own['scale']:g}"]
    return dict(zip(TRAINED, [*cells, f"{model['trainable'] / model['parameters']:.1%}"], strict=True))


def _what(tuning: Mapping[str, Any]) -> str:
    if "kinds" not in tuning:
        return "all weights"
    return " ".join(tuning["names"] or tuning["kinds"])


def _share(run: Run, runs: Sequence[Run], name: str) -> float | None:
    """How far a run is on the way from the base to the longest training of all weights; None without one."""
    base = next(one for one in runs if one.config["adapter"]["scale"] == 0)
    full = [one for one in runs if _what(one.config["adapter"]["tuning"]) == "all weights"]
    start = _value(base, name)
    return (_value(run, name) - start) / (_value(full[-1], name) - start) if full else None


def _place(run: Run) -> tuple[bool, int, str, int, float]:
    """All weights last, the fewest parameters first."""
    own = run.config["adapter"]
    model = json.loads((Path(run.stages["adapter"]["path"]) / "model.json").read_text())
    what = _what(own["tuning"])
    return what == "all weights", model["trainable"], what, own["trainer"]["steps"], own["scale"]


def _of_one_adapter(runs: Sequence[Run]) -> list[Run]:
    """Those that draw with the adapter that is also drawn at scale 0."""
    base = next(run for run in runs if run.config["adapter"]["scale"] == 0)
    return [run for run in runs if run.stages["adapter"]["key"] == base.stages["adapter"]["key"]]


def _scales(runs: Sequence[Run], count: int) -> Any:
    files = [Path(run.stages["samples"]["path"]) / "samples.safetensors" for run in runs]
    shown = [np.moveaxis(load_file(file)["image"][:count], 1, -1) for file in files]
    labels = [f"scale {run.config['adapter']['scale']:g}" for run in runs]
    return grid(np.concatenate(shown), count, row_labels=labels, scale=2)


def _value(run: Run, name: str) -> float:
    return float(run.metrics[name]["value"])


if __name__ == "__main__":
    main()
