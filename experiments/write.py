"""Write a study's notebook from finished runs; no number in it is copied by hand.

    python experiments/write.py cfg_latent guidance.scale outputs/cfg_latent/SWEEP/*/ --show 2

Fills the part of experiments/STUDY/README.md between its two markers, and writes results.csv, over numbers
a curve of each metric that has a floor, and the samples of the runs at --show.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from condiff.reports.notebook import curve, refuse_mixture, results, table
from condiff.reports.runs import FLOOR, Run
from condiff.reports.values import is_number
from condiff.stages.run_folders import read_run

HERE = Path(__file__).parent
BEGIN, END = "<!-- written by a script, no number by hand -->", "<!-- end -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("study")
    parser.add_argument(
        "axis", help="a dotted config key, such as guidance.scale, or a group, such as guidance"
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--show", nargs="+", required=True, help="whose samples are shown, on the axis")
    args = parser.parse_args()
    folders = sorted(args.runs, key=lambda f: (f.parent, len(f.name), f.name))  # as they were run
    runs = {folder: read_run(folder) for folder in folders if (folder / "metrics.json").is_file()}
    found, home = list(runs.values()), HERE / args.study
    refuse_mixture(found, args.axis)
    (home / "results.csv").write_text(results(found, args.axis))
    first = next(iter(runs))
    parts = [table(found, args.axis), f"Mean ± standard deviation over seeds. {made_by(found[0])}"]
    for name in found[0].metrics:
        if f"{name}{FLOOR}" in found[0].metrics and is_number(found[0].setting(args.axis)):
            (home / f"{name}.svg").write_text(curve(found, args.axis, name))
            parts.append(f"![{name} over {args.axis}]({name}.svg)")
    for value in args.show:
        shown = next(folder for folder, run in runs.items() if matches(run.setting(args.axis), value))
        name = "samples.png" if len(args.show) == 1 else f"samples_{value}.png"
        shutil.copy(shown / "samples.png", home / name)
        parts.append(f"![samples at {args.axis}={value}]({name})")
    fill(home / "README.md", parts)
    print(f"{home / 'README.md'}: {len(runs)} runs, first {first}")


def made_by(run: Run) -> str:
    """What made a run's numbers."""
    manifest = json.loads((Path(run.stages["metrics"]["path"]) / "manifest.json").read_text())
    return (
        f"Commit {manifest['commit']}, {manifest['hardware']}, torch {manifest['versions']['torch']};"
        " n and protocol of each number in results.csv."
    )


def fill(page: Path, parts: Sequence[str]) -> None:
    """Put these parts between the markers of a page."""
    text = page.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n" + "\n\n".join(parts) + f"\n{END}{after}")


def matches(setting: object, shown: str) -> bool:
    return setting == float(shown) if is_number(setting) else setting == shown


if __name__ == "__main__":
    main()
