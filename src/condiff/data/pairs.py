"""Two sets in every batch, such as a subject and its class: at every other place an example of the second."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from condiff.data.dataset import Batch, ShardDataset
from condiff.data.sample import Shard

Row = tuple[int, int, int]  # step, place in the global batch, index of the example


def is_second(place: Tensor) -> Tensor:
    """Whether what stands at these places of a global batch is of the second set, [B] bool."""
    return place % 2 == 1


class Pairs(Dataset[Batch]):
    """The examples of two sets, numbered on; a batch of both has the fields that both have."""

    def __init__(self, first: ShardDataset, second: ShardDataset) -> None:
        self.first, self.second = first, second
        self.sizes = [*first.sizes, *second.sizes]
        self.orders = [*first.orders, *second.orders]
        self.is_streamed = first.is_streamed or second.is_streamed
        assert first.shapes == second.shapes, f"a batch has one shape, and {second.folder} has others"
        self.held = first.held and second.held
        self.is_mirrored = first.is_mirrored

    def __getitems__(self, rows: Sequence[Row]) -> Batch:
        """The batch of (step, place, index) rows, all of one step."""
        own, other = self._parted(rows)
        if not own or not other:
            return (self.first if own else self.second).__getitems__(own or other)
        found = [dict(data.__getitems__(some)) for data, some in ((self.first, own), (self.second, other))]
        return _together(found, [place for _, place, _ in rows])

    def needs(self, rows: Sequence[Row]) -> set[Shard]:
        own, other = self._parted(rows)
        return self.first.needs(own) | self.second.needs(other)

    def _parted(self, rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        """Those of each set, by its own numbers."""
        start = len(self.first)
        own = [row for row in rows if row[2] < start]
        return own, [(step, place, index - start) for step, place, index in rows if index >= start]


def _together(found: Sequence[dict[str, Any]], places: Sequence[int]) -> Batch:
    """Batches of one step in one, its rows in the order of these places."""
    one, two = found
    at = [*one["place"].tolist(), *two["place"].tolist()]
    order = [at.index(place) for place in places]
    whole: dict[str, Any] = {"step": one["step"]}
    for name in one.keys() & two.keys() - {"step"}:
        if isinstance(one[name], Tensor):
            whole[name] = torch.cat([one[name], two[name]])[order]
        else:
            both = [*one[name], *two[name]]
            whole[name] = [both[row] for row in order]
    return Batch(**whole)
