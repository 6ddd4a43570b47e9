"""Grids: the times that a sampler walks through, from noise to data.

A grid in noise levels sigma / alpha needs finite ends above 0. They are those of the process at t_max
and t_low, with stand-ins where there is no signal or no noise left.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from condiff.diffusion.process import Process
from condiff.ranges import Count, Natural, Positive, checked

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


class ShiftedLevels(Grid):
    """The noise levels of the uniform grid times ``shift``: on a flow t becomes s t / (1 + (s - 1) t).

    That is the shift of Esser 2024, eq. 23, as a choice of sampling alone. On a process that keeps some
    signal the noisiest level stays, and what alpha / sigma gains from there on is divided by the shift.
    """

    @checked
    def __init__(self, shift: Positive = 3.0) -> None:
        self.shift = shift

    def __call__(self, process: Process, steps: int) -> Tensor:
        m = process.at(UniformTime()(process, steps)[:-1])
        signal = (m.alpha / m.sigma).flatten()
        return _between_ends(process, process.time_of(1 / (signal[0] + (signal - signal[0]) / self.shift)))


class ToFirstStep(Grid):
    """Even steps of the process's clock down to the first of its ``num_steps`` in training, then the data.

    As SD3's pipeline walks: its scheduler, diffusers' FlowMatchEulerDiscreteScheduler, takes the time of that
    step, which a shift has moved already, for a place on the clock, and moves it once more.
    """

    @checked
    def __init__(self, num_steps: Count = 1000) -> None:
        self.num_steps = num_steps

    def __call__(self, process: Process, steps: int) -> Tensor:
        first = process.clock(torch.tensor(1 / self.num_steps, dtype=torch.float64))
        first = max(float(first), process.t_low)  # a chain may have fewer steps than that
        return _between_ends(process, process.clock(torch.linspace(1, first, steps, dtype=torch.float64)))


class Leading(Grid):
    """Every (N // steps)-th of the N steps of a chain, from ``offset`` on: it misses the noisiest ones.

    What DDIM and Stable Diffusion 1 were published with (Lin 2023, table 2); offset 1 as in the latter. Where
    the chain has not that much room, as in N steps, the offset is what there is.
    """

    needs_chain: ClassVar[bool] = True

    @checked
    def __init__(self, offset: Natural = 1) -> None:
        self.offset = offset

    def __call__(self, process: Process, steps: int) -> Tensor:
        num_steps = _chain(process, steps, "Leading")
        places = torch.arange(steps, dtype=torch.float64).flip(0) * (num_steps // steps)
        return _places(process, places + min(self.offset, num_steps - 1 - int(places[0])), num_steps)


class Linspace(Grid):
    """Even steps from the last to the first step of a chain, both kept (Lin 2023, table 2)."""

    needs_chain: ClassVar[bool] = True

    def __call__(self, process: Process, steps: int) -> Tensor:
        num_steps = _chain(process, steps, "Linspace")
        places = torch.linspace(num_steps - 1, 0, steps, dtype=torch.float64).round()
        return _places(process, places, num_steps)


def _chain(process: Process, steps: int, name: str) -> int:
    """How many steps the chain has; the grid takes each at most once."""
    num_steps = getattr(process, "num_steps", None)
    if num_steps is None:
        raise ValueError(
            f"sampler.grid: {name} needs a process of discrete steps, and {type(process).__name__} has none; "
            "use process=linear, cosine_ddpm or scaled_linear, or the grid UniformTime"
        )
    if steps > num_steps:
        raise ValueError(f"sampler.steps: must be at most the {num_steps} steps of the process, got {steps}")
    return num_steps


def _places(process: Process, places: Tensor, num_steps: int) -> Tensor:
    """The times of these steps of a chain, counted from 0, and t_min."""
    return torch.cat([(places + 1) / num_steps, places.new_tensor([process.t_min])])


def _levels(process: Process) -> tuple[float, float]:
    m = process.at(torch.tensor([process.t_low, process.t_max], dtype=torch.float64))
    low, high = (m.sigma / m.alpha).flatten().tolist()
    return low or LEAST_LEVEL, min(high, MOST_LEVEL)


def _between_ends(process: Process, times: Tensor) -> Tensor:
    ends = times.new_tensor([process.t_max, process.t_min])
    return torch.cat([ends[:1], times[1:], ends[1:]])
