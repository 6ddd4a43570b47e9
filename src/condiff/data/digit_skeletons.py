"""Real digits drawn anew along their skeletons, thin and thick: what a hint says and what a label says."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np

from condiff.data.mnist import Mnist
from condiff.data.source import DataInfo, Example, Source, Split
from condiff.ranges import Positive, Range, checked
from condiff.scenes.thinning import drawn, thinned


class DigitSkeletons(Source):
    """Each MNIST digit twice, thin and thick, with one hint: its lines, one pixel wide (Zhang 1984).

    The picture is these lines dilated by a round pen as wide as the label says, which no hint tells.

    thin, thick: the widths of the pens in pixels.
    """

    @checked
    def __init__(
        self,
        size: Annotated[int, Range(low=28)] = 32,
        held_out_per_class: Annotated[int, Range(low=1, high=499)] = 50,
        thin: Positive = 1.5,
        thick: Positive = 3.5,
    ) -> None:
        if not thin < thick:
            raise ValueError(f"DigitSkeletons.thin must be below thick={thick:g}, got {thin:g}")
        self.digits, self.widths = Mnist(size, held_out_per_class), {"thin": thin, "thick": thick}

    def check(self, memo_dir: Path | None = None) -> None:
        self.digits.check(memo_dir)

    def fingerprint(self, memo_dir: Path | None = None) -> str:
        return self.digits.fingerprint(memo_dir)

    def info(self) -> DataInfo:
        info, count = self.digits.info(), len(self.widths)
        return replace(
            info,
            num_classes=count,
            class_names=[*self.widths],
            num_train=info.num_train * count,
            num_held_out=info.num_held_out * count,
            source=f"the skeletons of {info.source}, with pens of {count} widths",
            control=1,
        )

    def examples(self, split: Split) -> Iterator[Example]:
        for digit in self.digits.examples(split):
            line = thinned(digit.image > 127)
            for label, (name, width) in enumerate(self.widths.items()):
                image = np.rint(255 * drawn(line, width)).astype(np.uint8)
                yield Example(f"{digit.key}-{name}", image, label, control=np.uint8(255) * line)
