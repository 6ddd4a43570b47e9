"""A number about samples that says how it was measured."""

from abc import abstractmethod
from typing import Any, Protocol

from torch import Tensor
from torchmetrics import Metric


class FeatureExtractor(Protocol):
    """Images, [B, C, H, W] in [-1, 1], to features, [B, feature_dim]."""

    name: str
    feature_dim: int

    def __call__(self, images: Tensor) -> Tensor: ...


class Measurement(Metric):
    """A torchmetrics metric over named sets of pictures: "samples", "train" or "held_out"."""

    full_state_update = False
    higher_is_better: bool | None = None
    protocol: str  # what was compared with what, in which features

    @property
    @abstractmethod
    def sides(self) -> tuple[str, ...]:
        """The sets it wants to see."""

    @abstractmethod
    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        """Take in images, [B, C, H, W] in [-1, 1], of one of its sets, with their labels, [B]."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many pictures the number is about."""

    def interval(self) -> tuple[float, float] | None:
        """A 95 % interval of the value, where one is known."""
        return None

    def caveat(self) -> str:
        """What a reader must know before comparing the number, or nothing."""
        return ""

    def report(self) -> dict[str, Any]:
        """As it stands in metrics.json."""
        interval, note = self.interval(), self.caveat()
        return {
            "value": float(self.compute()),
            "n": self.count,
            "protocol": f"{self.protocol}; {note}" if note else self.protocol,
            "interval": None if interval is None else list(interval),
        }
