"""What the Frechet distance and its kin see and miss, on real digits that are disturbed in a known way.

    python experiments/what_fid_sees/measure.py

3,000 held-out digits, never seen by anything, stand for samples; 2,000 training digits are what they are measured
against. Every disturbed set has 1,500 pictures, because the distances depend on the count. Writes results.csv and
disturbances.png, then the figures and the tables of the README (draw.py, which can also be run alone).
"""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as run.py

import draw
import torch
import transport
from digits import Digits, digits
from disturbances import blurred, noisy, of_classes, repeated, swirled, with_copies
from measures import Number, Remembered, all_measures, measures_of_count, numbers, shown
from results import PLAIN, Row, write
from torch import Tensor

from condiff.evaluation.features.efficientnet_lite0 import EfficientNetLite0Body
from condiff.reports.grid import grid

HERE = Path(__file__).parent
NUM = 1500  # pictures of a disturbed set
COUNTS, DRAWS = (100, 200, 400, 800, 1600, 3000), 8
COLUMNS = 12  # of the strip
RESOLUTION = 64  # that EfficientNet sees, as in conf/metrics/efficientnet_lite0.yaml


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def disturbed(data: Digits) -> dict[str, dict[float, Tensor]]:
    """The sets by disturbance and strength; strength 0, which is the same for all, is not among them."""
    base, held_out = plain(data), data.held_out
    kept = {num: of_classes(data.label, list(range(num, 10)), NUM) for num in (1, 2, 3, 4, 5)}
    return {
        "blur": {sigma: blurred(base, sigma) for sigma in (0.5, 0.75, 1.0, 1.5)},
        "noise": {std: noisy(base, std, seeded()) for std in (0.05, 0.1, 0.2, 0.4)},
        "swirl": {angle: swirled(base, angle) for angle in (0.25, 0.5, 1.0, 2.0)},
        "classes left out": {num: held_out[index] for num, index in kept.items()},
        "training copies": {
            share: with_copies(base, data.train, share, seeded()) for share in (0.1, 0.25, 0.5, 0.75, 1.0)
        },
        "repeats": {times: repeated(base, times, seeded()) for times in (2, 5, 10, 30, 100)},
    }


def plain(data: Digits) -> Tensor:
    return data.held_out[of_classes(data.label, list(range(10)), NUM)]


def measured(data: Digits, sets: Mapping[str, Mapping[float, Tensor]], network: Remembered) -> Iterator[Row]:
    """Every set in one network's features, then the control and the counts."""
    name = network.name.partition(",")[0]

    def rows(disturbance: str, strength: float, draw_: int, found: Iterator[Number]) -> Iterator[Row]:
        for number in found:
            low, high = number.interval or (None, None)
            yield Row(
                disturbance,
                strength,
                draw_,
                name,
                number.measure,
                number.value,
                low,
                high,
                number.n,
                number.caveat,
            )

    against_train = shown(all_measures(network), "train", data.train)
    for disturbance, strengths in {PLAIN: {0.0: plain(data)}, **sets}.items():
        for strength, images in strengths.items():
            yield from rows(disturbance, strength, 0, numbers(shown(against_train, "samples", images)))
    yield from control(data, network, rows)
    for num in COUNTS:
        real = shown(measures_of_count(network, num), "train", data.train)
        for draw_ in range(DRAWS if num < len(data.held_out) else 1):
            chosen = torch.randperm(len(data.held_out), generator=seeded(draw_))[:num]
            found = numbers(shown(real, "samples", data.held_out[chosen]))
            yield from rows("count", num, draw_, found)


def control(data: Digits, network: Remembered, rows) -> Iterator[Row]:
    """Half of the held-out pictures against as many training pictures, and against the other half."""
    order = torch.randperm(len(data.held_out), generator=seeded())
    half, other = data.held_out[order[:NUM]], data.held_out[order[NUM : 2 * NUM]]
    for name, real in {"against train": data.train[:NUM], "against held out": other}.items():
        seen = shown(measures_of_count(network, NUM), "train", real)
        yield from rows(name, 0.0, 0, numbers(shown(seen, "samples", half)))


def transported() -> Iterator[Row]:
    for pair in transport.PAIRS:
        for measure, value in {"formula": pair.formula(), "known": pair.known}.items():
            yield Row("transport", 0.0, 0, pair.name, measure, value, None, None, 0, "")
        for num in transport.COUNTS:
            for measure, values in zip(("transport", "moments"), transport.estimates(pair, num), strict=True):
                for draw_, value in enumerate(values):
                    yield Row("transport", num, draw_, pair.name, measure, value, None, None, num, "")


def strip(data: Digits, sets: Mapping[str, Mapping[float, Tensor]]) -> None:
    """Two pictures at each strength; of what is done to a whole set, pictures of the strongest."""
    base, rows = plain(data), {}
    for name in ("blur", "noise", "swirl"):
        at = [base, *sets[name].values()]
        rows[name] = torch.cat([images[2:4] for images in at])[:COLUMNS]
    for name in ("classes left out", "training copies", "repeats"):
        images = list(sets[name].values())[-1]
        rows[name] = images[torch.randperm(len(images), generator=seeded())[:10]]
    pictures = torch.cat([*rows.values()])
    pixels = ((pictures[:, 0] + 1) * 127.5).round().byte().numpy()
    grid(pixels, 10, list(rows), scale=2).save(HERE / "disturbances.png", optimize=True)


def main() -> None:
    torch.set_num_threads(2)  # so that the last digits are the same on any machine with two cores
    start = time.monotonic()
    data = digits()
    print(
        f"judge: {data.accuracy:.3f} of {len(data.held_out):,} held-out digits right, {time.monotonic() - start:.0f} s"
    )
    sets = disturbed(data)
    strip(data, sets)
    found = list(transported())
    print(f"transport: {time.monotonic() - start:.0f} s")
    for network in (data.judge, EfficientNetLite0Body(resolution=RESOLUTION)):
        found += measured(data, sets, Remembered(network))
        print(f"{network.name}: {time.monotonic() - start:.0f} s")
    write(found)
    draw.main()


if __name__ == "__main__":
    main()
