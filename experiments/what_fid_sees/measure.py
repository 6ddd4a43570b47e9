"""What the Frechet distance and its kin see and miss, on real digits that are disturbed in a known way.

    python experiments/what_fid_sees/measure.py

3,000 held-out digits stand for samples; 2,000 training digits are what they are measured against. Every
disturbed set has 1,500 pictures, because the distances depend on the count. Writes results.csv and
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
from disturbances import (
    blurred,
    noisy,
    of_classes,
    of_random_classes,
    repeated,
    swirled,
    with_copies,
)
from measures import Remembered, all_measures, distances, measures_of_count, numbers, shown
from results import PLAIN, Row, write
from torch import Tensor

from condiff.evaluation.features.efficientnet_lite0 import EfficientNetLite0Body
from condiff.evaluation.intervals import normal
from condiff.evaluation.measurement import Measurement
from condiff.reports.grid import grid

HERE = Path(__file__).parent
NUM = 1500  # pictures of a disturbed set
COUNTS, DRAWS = (100, 200, 400, 800, 1600, 3000), 8
EACH = 4  # pictures of a strength, in the strip
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
    """Every set in one network's features."""
    against_train = shown(all_measures(network), "train", data.train)
    for disturbance, strengths in {PLAIN: {0.0: plain(data)}, **sets}.items():
        for strength, images in strengths.items():
            yield from rows(disturbance, strength, 0, network, shown(against_train, "samples", images))


def counted(data: Digits, network: Remembered) -> Iterator[Row]:
    """Random parts of the held-out pictures."""
    for num in COUNTS:
        real = shown(measures_of_count(network, num), "train", data.train)
        for turn in range(DRAWS if num < len(data.held_out) else 1):
            chosen = torch.randperm(len(data.held_out), generator=seeded(turn))[:num]
            yield from rows("count", num, turn, network, shown(real, "samples", data.held_out[chosen]))


def control(data: Digits, network: Remembered) -> Iterator[Row]:
    """Undisturbed pictures against as many training and other held-out ones; classes equal, or by chance."""
    classes = list(range(10))
    base, train = plain(data), data.train[of_classes(data.train_label, classes, NUM)]
    rest = torch.ones(len(data.label), dtype=torch.bool)
    rest[of_classes(data.label, classes, NUM)] = False
    for name, real in {"train, equal classes": train, "held out, equal classes": data.held_out[rest]}.items():
        seen = shown(distances(network), "train", real)
        yield from rows(name, 0.0, 0, network, shown(seen, "samples", base))
    for turn in range(2 * DRAWS):
        generator = seeded(turn)
        fake = data.held_out[of_random_classes(data.label, NUM, generator)]
        real = data.train[of_random_classes(data.train_label, NUM, generator)]
        seen = shown(distances(network), "train", real)
        yield from rows("train, random classes", 0.0, turn, network, shown(seen, "samples", fake))


def rows(
    disturbance: str, strength: float, turn: int, network: Remembered, measures: Mapping[str, Measurement]
) -> Iterator[Row]:
    features = network.name.partition(",")[0]
    for found in numbers(measures):
        low, high = found.interval or (None, None)
        what = (disturbance, strength, turn, features, found.measure)
        yield Row(*what, found.value, low, high, found.n, found.caveat)


def transported() -> Iterator[Row]:
    """Means over the draws, with the interval of the mean."""
    for pair in transport.PAIRS:
        for measure, value in {"formula": pair.formula(), "known": pair.known}.items():
            yield Row("transport", 0.0, 0, pair.name, measure, value, None, None, 0, "")
        for num in transport.COUNTS:
            for measure, values in zip(("transport", "moments"), transport.estimates(pair, num), strict=True):
                drawn = torch.tensor(values, dtype=torch.float64)
                ends = normal(float(drawn.mean()), drawn)
                yield Row("transport", num, 0, pair.name, measure, float(drawn.mean()), *ends, num, "")


def strip(data: Digits, sets: Mapping[str, Mapping[float, Tensor]]) -> None:
    """Four pictures at each strength; of what is done to a whole set, pictures of the strongest."""
    base, shown_rows = plain(data), {}
    for name in ("blur", "noise", "swirl"):
        at = [base, *sets[name].values()]
        shown_rows[name] = torch.cat([images[2 : 2 + EACH] for images in at])
    for name in ("classes left out", "training copies", "repeats"):
        images = list(sets[name].values())[-1]
        shown_rows[name] = images[torch.randperm(len(images), generator=seeded())[: 5 * EACH]]
    pictures = torch.cat([*shown_rows.values()])
    pixels = ((pictures[:, 0] + 1) * 127.5).round().byte().numpy()
    grid(pixels, 5 * EACH, list(shown_rows), scale=2).save(HERE / "disturbances.png", optimize=True)


def main() -> None:
    torch.set_num_threads(2)  # so that the last digits do not depend on how many cores there are
    data, start = digits(), time.monotonic()
    print(f"the judge is right about {data.accuracy:.4f} of {len(data.held_out):,} held-out digits")
    sets = disturbed(data)
    strip(data, sets)
    found = list(transported())
    for network in (data.judge, EfficientNetLite0Body(resolution=RESOLUTION)):
        remembered = Remembered(network)
        found += [*measured(data, sets, remembered), *counted(data, remembered), *control(data, remembered)]
        print(f"{network.name}: {len(remembered.known):,} pictures, {time.monotonic() - start:.0f} s")
    write(found)
    draw.main()


if __name__ == "__main__":
    main()
