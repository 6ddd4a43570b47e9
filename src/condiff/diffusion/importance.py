"""Training times chosen by how much the loss says there."""

from typing import ClassVar

import torch
from torch import Tensor

from condiff.diffusion.process import Process
from condiff.diffusion.randomness import Draws
from condiff.diffusion.times import TimeSampler, Uniform
from condiff.ranges import Count, Fraction, checked


class SecondMoment(TimeSampler):
    """In proportion to the root of the loss's second moment, by which it is divided (Nichol 2021, eq. 18).

    The way from data to noise has ``bins`` equal parts. The last ``memory`` losses of each are kept, and
    until all have as many the times are uniform. Afterwards a share ``uniform`` of them still is (0.001 as in
    the paper's code, from memory). The mean of balanced losses is that over uniform times, with less noise.
    """

    learns: ClassVar[bool] = True

    @checked
    def __init__(self, bins: Count = 100, memory: Count = 10, uniform: Fraction = 0.001) -> None:
        self.bins, self.memory, self.uniform = bins, memory, uniform
        self.losses = torch.zeros(bins, memory, dtype=torch.float64)
        self.counts = torch.zeros(bins, dtype=torch.int64)

    def __call__(self, draws: Draws, process: Process) -> Tensor:
        share = (draws.place + 1 - draws.uniform("time")) / draws.batch_size  # in (0, 1], one in each part
        if (self.counts < self.memory).any():
            self.drawn, self.balance = (share * self.bins).ceil().long() - 1, None
            return Uniform()(draws, process)
        p = self.probability().to(share.device)
        ends = p.cumsum(0)
        self.drawn = torch.searchsorted(ends, share).clamp(max=self.bins - 1)
        own = p[self.drawn]
        inside = 1 - ((ends[self.drawn] - share) / own).clamp(0, 1)
        self.balance = 1 / (self.bins * own)
        u = (self.drawn + inside) / self.bins
        return process.training_time(u.clamp(min=torch.finfo(u.dtype).tiny))

    def probability(self) -> Tensor:
        """Of each part of the way, [bins] float64."""
        size = self.losses.square().mean(1).sqrt()
        total = size.sum()
        learned = size / total if total > 0 else torch.full_like(size, 1 / self.bins)
        return (1 - self.uniform) * learned + self.uniform / self.bins

    def learn(self, drawn: Tensor, losses: Tensor) -> None:
        """Take in a global batch: the parts its times fell in, and its losses, both [B], in its own order."""
        for part, loss in zip(drawn.tolist(), losses.tolist(), strict=True):
            self.losses[part, self.counts[part] % self.memory] = loss
            self.counts[part] += 1

    def state(self) -> dict[str, Tensor]:
        return {"losses": self.losses, "counts": self.counts}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.losses, self.counts = state["losses"], state["counts"]
