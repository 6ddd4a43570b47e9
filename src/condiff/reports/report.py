"""What a report says, as plain data: everything a page or a terminal shows, nothing about how it looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from PIL.Image import Image

from condiff.reports.curves import Curve


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
class Guided:
    """The guidance of a study, by its class and scale (None where it has none)."""

    name: str
    scale: float | None = None

    def strength(self) -> str:
        """Both ways to count: s of this package, w of the paper (Ho 2022, eq. 6); empty without a scale."""
        return "" if self.scale is None else f"s = {self.scale:.6g}, w = s − 1 = {self.scale - 1:.6g}"


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
