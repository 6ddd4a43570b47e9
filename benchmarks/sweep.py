"""A sweep over five guidance scales of a trained study against its sampling and metrics alone, and against
five separate runs.

    python benchmarks/sweep.py [--study cfg_latent] [--cache outputs/cache] [--turns 3] [OVERRIDE ...]

Trains the study first if it is not in the cache. Every turn samples scales that were never sampled before;
the two ways take turns, and the table has the medians. The sweep is timed whole, and without the start of its
process (imports, and the check of every run before the first starts).
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCALES = (1.0, 1.5, 2.0, 3.0, 5.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--study", default="cfg_latent")
    parser.add_argument("--cache", type=Path, default=Path("outputs/cache"))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("overrides", nargs="*", help="of every run, such as logger.wandb=off")
    args = parser.parse_args()
    given = [f"experiment={args.study}", f"runtime.cache={args.cache.resolve()}", *args.overrides]
    run(given, Path(tempfile.mkdtemp()))  # train what is not there
    rows = {"sweep": [], "jobs": [], "work": [], "apart": []}
    for turn in range(args.turns):
        first, second = scales(2 * turn), scales(2 * turn + 1)
        seconds, folder = sweep(given, first)
        jobs = json.loads((folder / "sweep.json").read_text())["jobs"]
        rows["sweep"].append(seconds)
        rows["jobs"].append(sum(job["seconds"] for job in jobs))
        rows["work"].append(sum(work(folder / job["folder"]) for job in jobs))
        folders = [Path(tempfile.mkdtemp()) for _ in second]
        seconds = [run([*given, scale], folder) for scale, folder in zip(second, folders, strict=True)]
        assert all(work(folder / "run") > 0 for folder in folders)
        rows["apart"].append(sum(seconds))
    tell({name: statistics.median(values) for name, values in rows.items()}, args.turns)


def scales(turn: int) -> list[str]:
    """The five scales, each a little beside where anyone has sampled."""
    beside = int(time.time()) % 10**6 * 100 + turn
    return [f"guidance.scale={scale + beside / 1e10:.10f}" for scale in SCALES]


def sweep(given: list[str], settings: list[str]) -> tuple[float, Path]:
    folder = Path(tempfile.mkdtemp()) / "sweep"
    values = ",".join(text.partition("=")[2] for text in settings)
    return run(["-m", *given, f"guidance.scale={values}", f"hydra.sweep.dir={folder}"], folder.parent), folder


def run(argv: list[str], folder: Path) -> float:
    """Seconds of one command, from before its process starts to after it has ended."""
    where = [] if "-m" in argv else [f"hydra.run.dir={folder / 'run'}"]
    start = time.monotonic()
    subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *argv, *where], check=True, stdout=subprocess.DEVNULL
    )
    return time.monotonic() - start


def work(folder: Path) -> float:
    """Seconds that a job spent in sampling and measuring."""
    stages = json.loads((folder / "stages.json").read_text())
    assert all(stages[name]["status"] == "run" for name in ("samples", "metrics"))
    return stages["samples"]["seconds"] + stages["metrics"]["seconds"]


def tell(median: dict[str, float], turns: int) -> None:
    model = next(re.finditer(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()))[1]
    print(f"five guidance scales of a trained study; medians of {turns} turns; {model}\n")
    print("| what | seconds | to sampling and metrics |")
    print("|---|---|---|")
    names = {
        "work": "sampling and metrics alone",
        "jobs": "the five jobs of the sweep",
        "sweep": "the sweep, with the start of its process",
        "apart": "five separate runs",
    }
    for key, name in names.items():
        print(f"| {name} | {median[key]:.1f} | {median[key] / median['work']:.2f} |")
    print(json.dumps({"benchmark": "sweep", **median}))


if __name__ == "__main__":
    main()
