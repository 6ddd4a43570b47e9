"""What several processes gain: the training of experiment=cfg_latent on 1 and on N devices, in turns.

    python benchmarks/scaling.py [--devices 2] [--rounds 3] [--steps 200] [KEY=VALUE ...]

Each turn is a run of its own, whose log tells images a second without the start; a training is of the same
global batch however many processes share it. Other keys go to all runs, such as trainer.batch_size=256.
Two processes on two cores also share the memory and its bandwidth, so a CPU gains less than GPUs do.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
STUDY = [
    *("experiment=cfg_latent", "logger.wandb=off", "stages=[data,autoencoder,latents,denoiser]"),
    *("autoencoder.trainer.steps=20", "trainer.log_every=20"),
]


def images_per_second(folder: Path, devices: int, turn: int, steps: int, own: list[str]) -> float:
    """The median over the log of one training, whose first line has the start in it."""
    settings = [f"runtime.devices={devices}", f"trainer.steps={steps}", f"optimizer.lr={2e-3 + 1e-9 * turn}"]
    place = [f"runtime.cache={folder}/cache", f"hydra.run.dir={folder}/run"]
    command = [sys.executable, "run.py", *STUDY, *settings, *place, *own]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    stages = json.loads((folder / "run" / "stages.json").read_text())
    rows = map(json.loads, (Path(stages["denoiser"]["path"]) / "log.jsonl").read_text().splitlines())
    return statistics.median([row["images_per_second"] for row in rows][1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("own", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args()
    counts = [1, args.devices]
    rates: dict[int, list[float]] = {count: [] for count in counts}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(args.rounds):
            for count in counts:
                number = len(counts) * turn + counts.index(count)
                rates[count].append(images_per_second(Path(folder), count, number, args.steps, args.own))
    report(rates, args)


def report(rates: dict[int, list[float]], args: argparse.Namespace) -> None:
    print(f"\n{'processes':>9} {'images/s':>10}")
    for count, values in rates.items():
        print(f"{count:>9} {statistics.median(values):>10.1f}")
    pairs = zip(rates[args.devices], rates[1], strict=True)
    ratio = statistics.median(several / one for several, one in pairs)
    print(f"{args.devices} processes / 1: {ratio:.3f}")
    print(json.dumps({"benchmark": "scaling", "ratio": ratio, **vars(args)}))


if __name__ == "__main__":
    main()
