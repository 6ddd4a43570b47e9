"""A circle on a plain background with its outline as a hint: Fill50K (Zhang 2023) drawn anew from a seed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np

from condiff.data.source import SPLITS, DataInfo, Example, Source, Split
from condiff.files import digest
from condiff.ranges import Count, Natural, Positive, Range, checked
from condiff.scenes.drawing import MARGIN, SIDE, coverage, painted
from condiff.scenes.scene import BACKGROUNDS, COLOURS

COLOURED = {**COLOURS, **BACKGROUNDS}
# Each pair of two colours, in words: what a picture is asked to show beside its hint.
CAPTIONS = [f"{one} circle on {other} background" for one in COLOURED for other in COLOURED if one != other]


class Circles(Source):
    """Where a circle is and how large stands in its hint alone; a caption, and a class, name both colours.

    Each picture belongs to (seed, split, place in the split), whatever else is drawn.

    low, high: of the radius, in pixels of a picture of 32. line: of the outline, in the same.
    """

    @checked
    def __init__(
        self,
        size: Annotated[int, Range(low=16)] = 32,
        num_train: Count = 9000,
        num_held_out: Count = 1000,
        low: Positive = 4.0,
        high: Annotated[float, Range(low=0, high=15, over=True)] = 11.0,
        line: Positive = 1.5,
        seed: Natural = 0,
    ) -> None:
        if not low <= high:
            raise ValueError(f"Circles.low must be at most high={high:g}, got {low:g}")
        self.size, self.seed, self.low, self.high, self.line = size, seed, low, high, line
        self.counts: dict[Split, int] = {"train": num_train, "held_out": num_held_out}

    def check(self, memo_dir: Path | None = None) -> None:
        """There is nothing to be missing."""

    def fingerprint(self, memo_dir: Path | None = None) -> str:
        return digest([self.size, self.seed, self.low, self.high, self.line, self.counts])

    def info(self) -> DataInfo:
        total = sum(self.counts.values())
        return DataInfo(
            num_classes=len(CAPTIONS),
            class_names=CAPTIONS,
            channels=3,
            size=self.size,
            num_train=self.counts["train"],
            num_held_out=self.counts["held_out"],
            has_text=True,
            source=f"{total:,} drawn pictures of a circle, each with its outline, seed {self.seed}",
            left_out=[],
            control=1,
        )

    def examples(self, split: Split) -> Iterator[Example]:
        return (self.example(split, index) for index in range(self.counts[split]))

    def example(self, split: Split, index: int) -> Example:
        """The picture at a place of a split."""
        rng = np.random.default_rng([self.seed, SPLITS.index(split), index])
        unit, label = self.size / SIDE, int(rng.integers(len(CAPTIONS)))
        radius = unit * rng.uniform(self.low, self.high)
        room = radius + unit * MARGIN
        x, y = rng.uniform(room, self.size - room, 2)
        disc = coverage("circle", x, y, radius, self.size)
        inner = coverage("circle", x, y, max(radius - unit * self.line, 0.01), self.size)
        one, other = (np.array(COLOURED[word]) for word in CAPTIONS[label].split()[::3])
        image = painted(np.tile(other, (self.size, self.size, 1)).astype(float), disc, one)
        hint = _bytes(255 * (disc - inner))
        return Example(f"{split}-{index:07d}", _bytes(image), label, CAPTIONS[label], control=hint)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values).astype(np.uint8)
