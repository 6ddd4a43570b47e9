"""A number about samples that says how it was measured."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from condiff.evaluation.intervals import Interval
from condiff.evaluation.statistics import Features, Statistics

# The sets of pictures there are to measure; a sample may be made from a source, and have a true answer. A
# base was trained on pictures of its own. A subject's class is drawn beside its samples, and by the base of
# the same noise.
Side = Literal["samples", "train", "held_out", "base", "sources", "targets", "class", "class_of_base"]
FLOOR = "_floor"  # ends the name of what real data reaches


class Classifier(Protocol):
    """Images, [B, C, H, W] in [-1, 1], to the logits of their classes, [B, K]."""

    name: str

    def logits(self, images: Tensor) -> Tensor: ...


class PairDistance(Protocol):
    """How unlike the pictures of two batches are, one by one: [B, C, H, W] in [-1, 1], twice, to [B]."""

    name: str

    def __call__(self, x: Tensor, y: Tensor) -> Tensor: ...


class Measurement(Metric):
    """A torchmetrics metric over named sets of pictures, its ``sides``."""

    full_state_update = False
    higher_is_better: bool | None = None
    higher_of_parts: ClassVar[dict[str, bool | None]] = {}  # of the parts for which it is another
    part_names: ClassVar[tuple[str, ...]] = ("",)  # what ``parts`` add to a name, but for ``suffix``
    told_without_caveat: ClassVar[tuple[str, ...]] = ()  # those of ``part_names`` that it says nothing of
    needs_label = False  # whether it asks what samples were to show
    needs_text: bool = False  # whether it is to be told what each sample was to show in words
    needs_text_without: ClassVar[str | None] = None  # an argument without which it is to be told so
    needs_captions = False  # whether it is to be told what each real picture shows in words
    one_size = False  # whether pictures of several sizes cannot be measured together
    protocol: str  # what was compared with what, in which features

    @property
    @abstractmethod
    def sides(self) -> tuple[str, ...]:
        """The sets it wants to see."""

    def share(self, places: range) -> None:
        """Say which of all samples this process is shown, in their order, where it is not shown all."""

    @abstractmethod
    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        """Take in images, [B, C, H, W] in [-1, 1], of one of its sets, with their labels, [B]."""

    def tell(self, captions: Sequence[str], unseen: Sequence[str] = ()) -> None:
        """Say what all samples were to show, in their order, before it sees them.

        ``unseen`` are things in captions that no training picture shows.
        """
        raise NotImplementedError

    def describe(self, side: str, captions: Sequence[str]) -> None:
        """Say what the next pictures of a real set show, before it sees them."""
        raise NotImplementedError

    @property
    @abstractmethod
    def count(self) -> int:
        """How many pictures the number is about."""

    def count_of(self, part: str) -> int:
        """How many pictures one of its ``parts`` is about, by what that adds to the name."""
        return self.count

    def wanted_real(self) -> tuple[str, Features] | None:
        """The set of real pictures of which it needs no more than the moments of these features."""
        return None

    def take_real(self, statistics: Statistics) -> None:
        """Take the moments of that set, which it then need not see."""
        raise NotImplementedError

    def real_statistics(self) -> Statistics:
        """The moments of that set, once it was seen."""
        raise NotImplementedError

    def interval(self) -> Interval | None:
        """A 95 % interval of the value under new samples, the set they are compared with held fixed."""
        return None

    def per_sample(self) -> Tensor | None:
        """[N] in the order of the samples, whose mean is the value: bool of hits, float64 of a measure.

        None where the value is no mean over samples, not even to first order.
        """
        return None

    def caveat(self) -> str:
        """What a reader must know before comparing the number, or nothing."""
        return ""

    def suffix(self) -> str:
        """What the name of the number must say so that nobody takes it for another one."""
        return ""

    def parts(self) -> Iterator[tuple[str, Tensor, Interval | None]]:
        """Each number it gives: what is added to its name, the value, and its interval."""
        yield self.suffix(), type(self).compute(self), self.interval()  # the unwrapped one: see ``entries``

    def entries(self, name: str) -> dict[str, dict[str, Any]]:
        """What it adds to metrics.json under the name that the config gives it.

        ``NAME_floor`` stays at the end: a floor stands beside the very number it is the floor of.
        The states of all processes are brought together once, for interval and caveat as for the value.
        """
        stem = name.removesuffix(FLOOR)
        with self.sync_context():
            note = self.caveat()
            return {
                f"{stem}{added}{name[len(stem) :]}": {
                    "value": float(value),
                    "n": self.count_of(added),
                    "protocol": self._said_of(added, note),
                    "interval": None if interval is None else list(interval),
                }
                for added, value, interval in self.parts()
            }

    def _said_of(self, added: str, note: str) -> str:
        return f"{self.protocol}; {note}" if note and added not in self.told_without_caveat else self.protocol

    def report(self) -> dict[str, Any]:
        """The entry of a measurement that gives one number."""
        (entry,) = self.entries("").values()
        return entry


def gathered(state: Any) -> Tensor:
    """All rows of a list state: of its batches, or of all processes once their states are together."""
    return dim_zero_cat(state) if len(state) else torch.empty(0)
