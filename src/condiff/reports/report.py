"""What a report says, as plain data: everything a page or a terminal shows, nothing about how it looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from PIL.Image import Image

from condiff.reports.curves import Curve

_WORDS = 5  # negative texts that a page names


class Metric(TypedDict):
    """One entry of metrics.json; ``NAME_floor`` is what real data reaches under the protocol of ``NAME``."""

    value: float
    n: int
    protocol: str
    interval: list[float] | None  # [low, high]


Metrics = Mapping[str, Metric]


@dataclass(frozen=True)
class StageRow:
    """One stage of a study: at the start what will happen to it, with ``seconds`` what did."""

    name: str
    key: str
    status: Literal["cached", "run", "resumed"]
    reason: str = ""  # why it runs, or where it resumed: "at step 450"
    seconds: float | None = None


@dataclass(frozen=True)
class Panel:
    """One picture of a figure, with a few words above it."""

    label: str
    image: Image


@dataclass(frozen=True)
class Figure:
    """Pictures to be seen side by side at one scale, such as samples and real data."""

    title: str
    caption: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Scale:
    """How strongly a rule guides: one number, several, or the first and the last of a ``course``."""

    values: Sequence[float]
    name: str = ""  # where a rule has more than one, such as "text scale"
    course: str = ""  # how it changes on the way, such as "cosine"

    def shown(self, less: float = 0.0) -> str:
        numbers = [f"{value - less:.6g}" for value in self.values]
        if not self.course:
            return ", ".join(numbers)
        first, last = numbers[0], numbers[-1]
        return first if first == last else f"{first} to {last}"

    def strength(self) -> str:
        """Both ways to count: s of this package and, of a scale that stands alone, w (Ho 2022, eq. 6)."""
        if self.name:
            return f"{self.name} {self.shown()}"
        course = f" ({self.course})" if self.course else ""
        return f"s = {self.shown()}{course}, w = s − 1 = {self.shown(less=1)}"


@dataclass(frozen=True)
class Guided:
    """The guidance of a study, by its classes and their scales, in the order in which they are applied.

    negative: words that samples are led away from, one for all or several in turn.
    """

    name: str
    scales: Sequence[Scale] = ()
    negative: Sequence[str] = ()

    def shown(self) -> str:
        return "; ".join(scale.shown() for scale in self.scales) or "–"

    def strength(self) -> str:
        """Empty without a scale."""
        return "; ".join(scale.strength() for scale in self.scales)

    def led_away(self) -> str:
        """Empty without such words; of many the first few."""
        first, more = self.negative[:_WORDS], len(self.negative) - _WORDS
        words = ", ".join(map(repr, first)) + (f" and {more} more" if more > 0 else "")
        return f"away from {words}" if words else ""


@dataclass(frozen=True)
class Report:
    """A finished run, ready to be shown."""

    name: str
    question: str
    command: str
    guidance: Guided | None
    stages: Sequence[StageRow]
    metrics: Metrics
    pictures: Sequence[Figure] = ()
    curves: Sequence[Curve] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    measured: Sequence[str] = ()  # what is to be said of the metrics
