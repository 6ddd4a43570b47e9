"""Do samples obey the hint that they were drawn with? The hint is found again in them, and compared."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from condiff.evaluation.checks import check_pictures, check_two
from condiff.evaluation.each_sample import EachSample
from condiff.evaluation.intervals import Interval, normal, within
from condiff.evaluation.measurement import gathered
from condiff.evaluation.parts import USE

_TURNS = 10  # other hints that each picture is compared with


class Fidelity(EachSample):
    """The mean over samples of how well what is found in each agrees with what its hint asks for.

    One that does not look at hints, in its ``sides``, asks for what is found in the picture of the hint.

    ``_real`` is what the pictures reach that the hints are of, the ceiling, and ``_shuffled`` what these
    reach with the hints of others, the floor. ``_use`` is by how much samples are better with their own hints
    than with those of others: 0 where the hint is ignored, whatever they look like.
    """

    needs_control: ClassVar[bool] = True
    one_size = True
    part_names: ClassVar = ("", "_real", "_shuffled", "_use")  # PARTS, in words that are read without torch
    higher_of_parts: ClassVar = {"_real": None, "_shuffled": None, "_use": True}
    told_without_caveat: ClassVar = ("_real", "_shuffled")
    bounds: ClassVar[Interval] = (0.0, math.inf)
    what: str  # in words, for the protocol
    found: list[Tensor]
    real: list[Tensor]
    asked: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.protocol = f"samples with their hints, one by one, {self.what}"
        for state in ("found", "real", "asked"):
            self.add_state(state, [], dist_reduce_fx="cat")

    @property
    def sides(self) -> tuple[str, ...]:
        return ("samples", "targets", "controls")

    @property
    def count(self) -> int:
        return len(gathered(self.found))

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        check_pictures(self, side, images)
        if side == "samples":
            self.take_places(images)
            self.found.append(self.seen(images))
        elif side == "targets":
            self.real.append(self.seen(images))
        else:
            self.asked.append(self.wanted((images + 1) / 2))

    @abstractmethod
    def seen(self, images: Tensor) -> Tensor:
        """What is found in pictures, [B, C, H, W] in [-1, 1]: a row each."""

    def wanted(self, hints: Tensor) -> Tensor:
        """What hints, [B, C, H, W] in [0, 1], ask for: a row each, where it looks at them."""
        raise NotImplementedError

    @abstractmethod
    def agreement(self, found: Tensor, asked: Tensor) -> Tensor:
        """[N] float64 of what was found and what was asked for."""

    def compute(self) -> Tensor:
        return self.per_sample().mean()

    def interval(self) -> Interval:
        return self.mean_within(self.per_sample())

    def per_sample(self) -> Tensor:
        found, _, asked = self._in_turn()
        return self.agreement(found, asked)

    def parts(self) -> Iterator[tuple[str, Tensor, Interval | None]]:
        found, real, asked = self._in_turn()
        own, ceiling = self.agreement(found, asked), self.agreement(real, asked)
        floor, use = self._of_others(real, asked), self._use(own, found, asked)
        for added, values in zip(self.part_names, (own, ceiling, floor, use), strict=True):
            yield added, values.mean(), self._spread(values) if added == USE else self.mean_within(values)

    def caveat(self) -> str:
        found, _, asked = self._in_turn()
        use = self._use(self.agreement(found, asked), found, asked)
        low, high = normal(float(use.mean()), use)
        if high < 0:
            return "the samples fit the hints of others better than their own"
        return "the samples do not depend on the hint as far as this n shows" if low <= 0 else ""

    def _spread(self, use: Tensor) -> Interval:
        """Of a difference of two agreements, which is at most as large as their range."""
        low, high = self.bounds
        return within(normal(float(use.mean()), use), (low - high, high - low))

    def _use(self, own: Tensor, found: Tensor, asked: Tensor) -> Tensor:
        """[N], in the direction that is better."""
        better = own - self._of_others(found, asked)
        return better if self.higher_is_better else -better

    def _of_others(self, found: Tensor, asked: Tensor) -> Tensor:
        """[N], the mean agreement of each with what others were asked for, but for the same.

        A hint may stand for several pictures: one that no other hint is beside is compared with them all.
        """
        others = [asked.roll(turn, 0) for turn in range(1, min(_TURNS, len(asked) - 1) + 1)]
        differs = torch.stack([(other != asked).reshape(len(asked), -1).any(1) for other in others])
        differs = (differs | ~differs.any(0)).double()
        values = torch.stack([self.agreement(found, other) for other in others])
        return (values * differs).sum(0) / differs.sum(0)

    def _in_turn(self) -> tuple[Tensor, Tensor, Tensor]:
        """What was found, in samples and in real pictures, and what was asked for, by the samples' places."""
        found, real = gathered(self.found), gathered(self.real)
        asked = gathered(self.asked) if "controls" in self.sides else real
        check_two(self, len(found))
        if not len(found) == len(real) == len(asked):
            raise ValueError(
                f"{type(self).__name__} needs a hint and its picture for each sample, got {len(asked)} and"
                f" {len(real)} for {len(found)}"
            )
        return self.in_turn(found), self.in_turn(real), self.in_turn(asked)
