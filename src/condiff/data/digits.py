"""The 1,797 digits of scikit-learn, 174 to 183 a class (BSD); small enough for tests."""

from typing import Annotated

from condiff.data.packaged import Packaged, Table
from condiff.ranges import Range, checked


class Digits(Packaged):
    """8x8 digits, padded to ``size``; by default 1,617 to train on and 180 held out."""

    table = Table(
        "scikit-learn", "sklearn", "datasets/data/digits.csv.gz", "digits", side=8, white=16, num_classes=10
    )

    @checked
    def __init__(
        self,
        size: Annotated[int, Range(low=8)] = 8,
        held_out_per_class: Annotated[int, Range(low=1, high=173)] = 18,
    ) -> None:
        super().__init__(size, held_out_per_class)
