"""Grids: the times that a sampler walks through, from noise to data.

A grid in noise levels sigma / alpha needs finite ends above 0. They are those of the process at t_max
and t_low, with stand-ins where there is no signal or no noise left.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from condiff.diffusion.process import Process
from condiff.ranges import Positive, checked

LEAST_LEVEL = 0.002  # sigma_min of Karras 2022, table 1
MOST_LEVEL = 1000.0  # log SNR -13.8: next to nothing of the data is left


class Grid(ABC):
    """A choice of times."""

    @abstractmethod
    def __call__(self, process: Process, steps: int) -> Tensor:
        """steps + 1 falling times, float64, from t_max to t_min."""


class UniformTime(Grid):
    """Even steps of the process's own clock; 'trailing' on a discrete schedule (Lin 2023, table 2)."""

    def __call__(self, process: Process, steps: int) -> Tensor:
        return _between_ends(
            process, process.clock(torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1])
        )


class Karras(Grid):
    """Even steps of level^(1 / rho) (Karras 2022, eq. 5)."""

    @checked
    def __init__(self, rho: Positive = 7.0) -> None:
        self.rho = rho

    def __call__(self, process: Process, steps: int) -> Tensor:
        low, high = _levels(process)
        ramp = torch.linspace(high ** (1 / self.rho), low ** (1 / self.rho), steps, dtype=torch.float64)
        return _between_ends(process, process.time_of(ramp**self.rho))


class UniformLogSNR(Grid):
    """Even steps of log SNR (Lu 2022)."""

    def __call__(self, process: Process, steps: int) -> Tensor:
        low, high = torch.tensor(_levels(process), dtype=torch.float64).log()
        return _between_ends(
            process, process.time_of(torch.linspace(high, low, steps, dtype=torch.float64).exp())
        )


def _levels(process: Process) -> tuple[float, float]:
    m = process.at(torch.tensor([process.t_low, process.t_max], dtype=torch.float64))
    low, high = (m.sigma / m.alpha).flatten().tolist()
    return low or LEAST_LEVEL, min(high, MOST_LEVEL)


def _between_ends(process: Process, times: Tensor) -> Tensor:
    ends = times.new_tensor([process.t_max, process.t_min])
    return torch.cat([ends[:1], times[1:], ends[1:]])
