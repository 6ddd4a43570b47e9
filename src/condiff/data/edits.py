"""Real digits and what an edit makes of them: pairs whose true answer is known."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np

from condiff.data.held_out import draw
from condiff.data.mnist import Mnist
from condiff.data.source import DataInfo, Example, Source, Split
from condiff.ranges import Range, checked

EDITS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "keep": lambda image: image,
    "mirror": lambda image: image[:, ::-1],
    "turn": np.rot90,
    "thicken": lambda image: around(image, np.max),
    "thin": lambda image: around(image, np.min),
    "outline": lambda image: around(image, np.max) - image,
}


class Edits(Source):
    """MNIST digits as sources; an example's picture is its source after the edit that its class names.

    The source is fitted to its size before it is edited, so that both show the same part of the picture.
    Each digit is there under ``per_digit`` different edits, drawn by its name.
    """

    @checked
    def __init__(
        self,
        size: Annotated[int, Range(low=28)] = 32,
        held_out_per_class: Annotated[int, Range(low=1, high=499)] = 50,
        per_digit: Annotated[int, Range(low=1, high=6)] = 2,
    ) -> None:
        self.digits, self.per_digit = Mnist(size, held_out_per_class), per_digit

    def check(self, memo_dir: Path | None = None) -> None:
        self.digits.check(memo_dir)

    def fingerprint(self, memo_dir: Path | None = None) -> str:
        return self.digits.fingerprint(memo_dir)

    def info(self) -> DataInfo:
        info = self.digits.info()
        return replace(
            info,
            num_classes=len(EDITS),
            class_names=[*EDITS],
            num_train=info.num_train * self.per_digit,
            num_held_out=info.num_held_out * self.per_digit,
            source=f"{len(EDITS)} edits of {info.source}, {self.per_digit} of each",
            has_source=True,
        )

    def examples(self, split: Split) -> Iterator[Example]:
        for digit in self.digits.examples(split):
            for name in sorted(EDITS, key=lambda name: draw(digit.key, name))[: self.per_digit]:
                edited = np.ascontiguousarray(EDITS[name](digit.image))
                yield Example(f"{digit.key}-{name}", edited, [*EDITS].index(name), source=digit.image)


def around(image: np.ndarray, take: Callable[..., np.ndarray]) -> np.ndarray:
    """Of the 3 x 3 pixels around each, the largest or the smallest; beyond the edge is the edge."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, 1, mode="edge"), (3, 3))
    return take(windows, axis=(2, 3))
