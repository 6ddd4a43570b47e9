"""No condition: what a denoiser for classifier guidance is trained with."""

from collections.abc import Mapping
from typing import Any, ClassVar

from condiff.conditioners.label import ClassLabel
from condiff.diffusion.condition import Condition
from condiff.ranges import Count, checked


class Unconditional(ClassLabel):
    """Labels that the denoiser is not told: it has no row for any, nothing to drop and no null.

    They still say what a sample is to show, for a classifier's gradient and for the measurement.
    """

    most_dropped: ClassVar[float] = 0.0
    needs_guide: ClassVar[bool] = True  # a classifier, without which nothing hears of its labels

    @checked
    def __init__(self, num_classes: Count, with_null: bool) -> None:
        super().__init__(num_classes, with_null=False)

    @property
    def num_labels(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return 0

    def __call__(self, batch: Mapping[str, Any]) -> Condition:
        return Condition(label=batch["label"])
