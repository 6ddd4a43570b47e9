"""The processes that make one thing together, as those who take part in it see them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")


class Ranks(Protocol):
    """One process of ``count``; what each must call in turn with the others says so."""

    index: int  # 0 leads: it alone saves and logs, and computes what all have measured
    count: int

    @property
    def leads(self) -> bool: ...

    def share(self, total: int) -> range:
        """Its part of 0..total - 1; the parts of all ranks in their order are the whole."""
        ...

    def divided(self, network: "nn.Module", key: str) -> "nn.Module":
        """Each: the network, or a copy of it of which each process holds a part.

        key: where the config has the settings of its training.
        """
        ...

    def spread(self, method: Any) -> None:
        """Before the first step, each: gradients, and statistics of a batch, are of the global batch."""
        ...

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Each: values of the parts of a global batch, as they are of the whole of it."""
        ...

    def total(self, *values: float) -> Sequence[float]:
        """Each: the sums over all ranks."""
        ...

    def largest(self, *values: float) -> Sequence[float]:
        """Each, once a step: the largest that any rank gives. Who has answered is alive."""
        ...

    def first(self, make: Callable[[], T]) -> T:
        """Each: what the leading rank makes; the others wait for it."""
        ...

    def of_first(self, tensors: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
        """Each: the tensors of the leading rank; all have some of these names, shapes and types."""
        ...

    def gathered(self, part: "Tensor", total: int) -> "Tensor":
        """Each: of its share, [n, ...], the whole, [total, ...], where it leads; elsewhere the share."""
        ...

    def alive(self) -> None:
        """A step is done, and the next one is not far."""
        ...

    def own_step(self) -> None:
        """A step of its share is done, and before the next one it waits for no other rank."""
        ...

    def pause(self) -> None:
        """What follows has no steps and may take long, such as a first step or measuring."""
        ...

    def saving(self) -> None:
        """As ``pause``, and who is told to stop meanwhile is given the time to end it."""
        ...


class Alone:
    """One process that does everything."""

    index, count, leads = 0, 1, True

    def share(self, total: int) -> range:
        return range(total)

    def divided(self, network: "nn.Module", key: str) -> "nn.Module":
        return network

    def spread(self, method: Any) -> None:
        pass

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        return dict(values)

    def total(self, *values: float) -> Sequence[float]:
        return values

    def largest(self, *values: float) -> Sequence[float]:
        return values

    def first(self, make: Callable[[], T]) -> T:
        return make()

    def of_first(self, tensors: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
        return dict(tensors)

    def gathered(self, part: "Tensor", total: int) -> "Tensor":
        return part

    def alive(self) -> None:
        pass

    def own_step(self) -> None:
        pass

    def pause(self) -> None:
        pass

    def saving(self) -> None:
        pass
