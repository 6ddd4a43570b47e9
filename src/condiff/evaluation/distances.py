"""Distances between sets of features, block by block: memory does not grow with their product."""

from collections.abc import Iterator

import torch
from torch import Tensor

_ELEMENTS = 2**24  # of a block: 128 MiB of float64


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """The rows of a [rows, columns] matrix in parts that fit a block."""
    step = max(1, _ELEMENTS // columns)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """[N, M] between float64 rows; precise where both lie around the origin."""
    squares = x.square().sum(1)[:, None] + y.square().sum(1)
    return torch.addmm(squares, x, y.T, alpha=-2).clamp(min=0)


def centred(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both sets in float64 around the mean of the second, which changes no distance."""
    middle = y.double().mean(0)
    return x.double() - middle, y.double() - middle


def nearest(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """For each row of x [N, D] the distance to its nearest row of y [M, D], and which, [N].

    The distance is taken anew from the pair, so that a copy is at 0 exactly.
    """
    x, y = centred(x, y)
    found = [squared_distances(x[rows], y).argmin(1) for rows in row_blocks(len(x), len(y))]
    index = torch.cat(found)
    return (x - y[index]).norm(dim=1), index


def nearest_others(x: Tensor, k: int) -> Tensor:
    """[N, k] squared distances of each row of float64 x to its k nearest other rows, ascending."""
    found = []
    for rows in row_blocks(len(x), len(x)):
        block = squared_distances(x[rows], x)
        block.diagonal(rows.start).fill_(torch.inf)
        found.append(block.topk(k, largest=False).values)
    return torch.cat(found)
