"""A mean over samples that keeps what each of them has, so that two sets can be compared in pairs."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from condiff.evaluation.intervals import Interval, normal, within
from condiff.evaluation.measurement import Measurement, gathered


class EachSample(Measurement):
    """A measurement that knows which sample each of its values belongs to.

    A process that sees all samples sees them in turn; one of several says first which are its ``share``.
    """

    bounds: ClassVar[Interval] = (-math.inf, math.inf)  # of what a sample can have
    place: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self._shared: range | None = None
        self.add_state("place", [], dist_reduce_fx="cat")

    def mean_within(self, values: Tensor) -> Interval:
        """Of the mean of some values, [N], as far as these can reach."""
        return within(normal(float(values.mean()), values), self.bounds)

    def share(self, places: range) -> None:
        self._shared = places

    def take_places(self, images: Tensor) -> None:
        """Note the places of the next samples, [B, C, H, W]."""
        taken = sum(map(len, self.place))
        places = range(taken + len(images)) if self._shared is None else self._shared
        own = places[taken : taken + len(images)]
        assert len(own) == len(images), f"{len(images)} samples after {taken} of {places}"
        self.place.append(torch.tensor(own, device=images.device, dtype=torch.long))

    def in_turn(self, values: Tensor) -> Tensor:
        """The values of all samples, [N], by their places, whichever process had which."""
        return values[gathered(self.place).argsort()]
