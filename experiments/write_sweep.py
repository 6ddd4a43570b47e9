"""Write a study's notebook from one sweep over any axes and seeds; no number in it is copied by hand.

    python experiments/write_sweep.py cfg_latent outputs/cfg_latent/SWEEP --figures NAME ... --show JOB

Fills the part of experiments/STUDY/README.md between its two markers with a table (a row a setting, mean and
standard deviation over seeds), the figures of the sweep's comparison by their names, and the samples of one
of its jobs; copies results.csv. With --watched NAME ... also what that job's adapter reached of these metrics
while it trained, and since when it obeys.
"""

import argparse
import json
import shutil
from pathlib import Path

from write import HERE, fill, made_by

from condiff.reports.notebook import over_steps
from condiff.reports.runs import FLOOR, differences, estimate, metric_names, settings_of
from condiff.reports.values import shown
from condiff.stages.obedience import obeyed, rows_of
from condiff.stages.run_folders import find_runs, read_run
from condiff.stages.stage import LOG


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("sweep", type=Path, help="the folder of a sweep")
    parser.add_argument("--figures", nargs="+", required=True, help="names in the sweep's figures/")
    parser.add_argument("--show", type=int, required=True, help="number of the job whose samples are shown")
    parser.add_argument("--watched", nargs="+", default=[], help="metrics of its adapter's training")
    args = parser.parse_args()
    home = HERE / args.study
    runs = [read_run(folder) for folder in find_runs([str(args.sweep)])]
    command = json.loads((args.sweep / "sweep.json").read_text())["command"]
    table = differences(runs)
    settings = settings_of(runs, table)
    names = metric_names(runs)
    lines = [f"| {' | '.join([*table, 'seeds', *names])} |", "|---" * (len(table) + 1 + len(names)) + "|"]
    for setting in settings:
        found = [estimate(setting.runs, name) for name in names]
        cells = [*map(shown, setting.values.values()), str(len(setting.runs))]
        cells += ["–" if one is None else one.text for one in found]
        lines.append(f"| {' | '.join(cells)} |")
    floors = {name: estimate(runs, name) for name in runs[0].metrics if name.endswith(FLOOR)}
    told = "".join(f" `{name}`, what real pictures reach: {one.text}." for name, one in floors.items() if one)
    parts = ["\n".join(lines), f"`{command}`; mean ± standard deviation over seeds.{told} {made_by(runs[0])}"]
    for name in args.figures:
        shutil.copy(args.sweep / "figures" / f"{name}.svg", home / f"{name}.svg")
        parts.append(f"![{name.replace('_', ' ')}]({name}.svg)")
    shutil.copy(args.sweep / str(args.show) / "samples.png", home / "samples.png")
    numbers = (args.sweep / "results.csv").read_text().replace(f"{args.sweep.resolve()}/", "")
    (home / "results.csv").write_text(numbers)
    label = next(setting.label for setting in settings if str(args.show) in map(number_of, setting.runs))
    parts.append(f"![samples at {label}](samples.png)")
    shown_run = next(run for run in runs if number_of(run) == str(args.show))
    rows = rows_of(Path(shown_run.stages["adapter"]["path"]) / LOG) if args.watched else []
    for name in args.watched:
        (home / f"{name}_over_steps.svg").write_text(over_steps(rows, name))
        parts.append(f"![{name} over the steps of the training]({name}_over_steps.svg)")
    parts += [f"Its log says: {line}." for line in obeyed(rows)]
    fill(home / "README.md", parts)
    print(f"{home / 'README.md'}: {len(runs)} runs")


def number_of(run: object) -> str:
    """The job's number, which is the name of its folder."""
    return Path(getattr(run, "folder", "")).name


if __name__ == "__main__":
    main()
