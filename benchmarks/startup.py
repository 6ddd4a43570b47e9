"""How long it takes until something happens: help, a mistake, a cached run, the first training step.

    python benchmarks/startup.py [--rounds 5]

Each command runs in a process of its own, in turns; the table holds medians of wall time and of the time
that the processes were computing, which a busy machine does not stretch. The second table is the import
of each library in a process that has imported those above it, beside the budget that it has.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRAINED = ["experiment=cfg_latent", "logger.wandb=off", "stages=[data,autoencoder]"]
ONE_STEP = ["autoencoder.trainer.steps=1", "+autoencoder.trainer.log_every=1"]
IMPORTS = {  # seconds that each may take beyond those before it
    "hydra": 1.0,
    "condiff.config.command_line": 0.5,
    "condiff.config.validate": 0.5,
    "torch": 5.0,
    "lightning": 10.0,
    "diffusers.models.unets.unet_2d": 5.0,
    "condiff.stages.training": 3.0,
}


def commands(cache: Path) -> dict[str, list[str]]:
    """By what they show; ``cache`` has the data, and the trained autoencoder of one step in its 7."""
    here = [f"runtime.cache={cache}", f"hydra.run.dir={cache.parent}/run"]
    return {
        "--help": ["--help"],
        "a mistake in the config": ["experiment=cfg_latent", "guidance.scal=2"],
        "a cached run": [*TRAINED, *ONE_STEP, "seed=7", *here],
        "the first training step": [*TRAINED, *ONE_STEP, "seed=SEED", *here],
    }


def ran(arguments: list[str]) -> tuple[float, float]:
    """Seconds of wall time, and of computing."""
    before, start = _computed(), time.perf_counter()
    subprocess.run([sys.executable, "run.py", *arguments], cwd=ROOT, capture_output=True, check=False)
    return time.perf_counter() - start, _computed() - before


def _computed() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def imported(modules: list[str]) -> dict[str, float]:
    """Seconds of computing that each takes, one after the other."""
    lines = [f"import {name}; print('{name}', time.process_time())" for name in modules]
    program = "; ".join(["import time; print('python', time.process_time())", *lines])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in done.stdout.splitlines() if len(line.split()) == 2]
    times = [(name, float(at)) for name, at in rows if name in {"python", *modules}]
    return {name: at - before for (_, before), (name, at) in pairwise(times)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    times: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        found = commands(Path(folder) / "cache")
        ran(found["a cached run"])
        for turn in range(args.rounds):
            for name, arguments in found.items():
                own = [argument.replace("SEED", str(100 + turn)) for argument in arguments]
                times.setdefault(name, []).append(ran(own))
    budgets = [imported([*IMPORTS]) for _ in range(args.rounds)]
    report(times, {name: statistics.median(turn[name] for turn in budgets) for name in IMPORTS})


def report(times: dict[str, list[tuple[float, float]]], imports: dict[str, float]) -> None:
    medians = {name: tuple(map(statistics.median, zip(*turns, strict=True))) for name, turns in times.items()}
    print(f"{'command':<26} {'s':>7} {'s of computing':>15}")
    for name, (wall, computed) in medians.items():
        print(f"{name:<26} {wall:>7.2f} {computed:>15.2f}")
    print(f"\n{'import':<32} {'s of computing':>15} {'budget':>7}")
    for name, seconds in imports.items():
        print(f"{name:<32} {seconds:>15.2f} {IMPORTS[name]:>7.1f}")
    said = {"benchmark": "startup", "seconds": medians, "imports": imports}
    print(json.dumps({**said, "threads": os.environ.get("OMP_NUM_THREADS")}))


if __name__ == "__main__":
    main()
