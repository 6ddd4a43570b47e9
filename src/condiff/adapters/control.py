"""How much of a ControlNet is used: at which skips, over which part of the way, and for whom."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from condiff.diffusion.process import Process
from condiff.ranges import Fraction, checked


class Control(ABC):
    """A weight for each skip and the middle, from one share of the way from noise (0) to data (1) to another.

    The shares are turned into noise levels, so that the number of steps does not matter.
    """

    in_null: ClassVar[bool] = True  # whether what samples are led away from has the control, too

    @checked
    def __init__(self, start: Fraction = 0.0, end: Fraction = 1.0) -> None:
        if not start < end:
            raise ValueError(f"{type(self).__name__}.start must be below end, got {start:g} and {end:g}")
        self.start, self.end = start, end

    @abstractmethod
    def weights(self, num: int) -> list[float]:
        """From the first skip, num - 1 of them, to the middle."""

    def span(self, process: Process) -> tuple[float, float]:
        """The noise levels, sigma / alpha, above which and up to which there is any control."""
        low = 0.0 if self.end == 1 else _level(process, 1 - self.end)
        return low, float("inf") if self.start == 0 else _level(process, 1 - self.start)


class Even(Control):
    """The same everywhere, and for the null condition, too (Zhang 2023, sec. 3.4)."""

    def weights(self, num: int) -> list[float]:
        return [1.0] * num


class Pooled(Even):
    """Of nets whose additions are means over all places: as they are, and nothing for the null condition.

    So diffusers' pipeline uses those that say ``global_pool_conditions``, such as control_v11e_sd15_shuffle.
    """

    in_null: ClassVar[bool] = False


class GuessOriginal(Control):
    """Guess mode of the published ControlNet: less in the first skips, and nothing for the null condition.

    0.825 to the power of the number of skips further on (gradio demos of Zhang 2023).
    """

    in_null: ClassVar[bool] = False

    def weights(self, num: int) -> list[float]:
        return [0.825 ** (num - 1 - place) for place in range(num)]


class GuessDiffusers(Control):
    """Guess mode of diffusers: from a tenth in the first skip to all of it in the middle, evenly in powers.

    Not to be compared with ``GuessOriginal`` by its scale: the two are other curves.
    """

    in_null: ClassVar[bool] = False

    def weights(self, num: int) -> list[float]:
        return torch.logspace(-1, 0, num, dtype=torch.float64).tolist()


def _level(process: Process, noise_left: float) -> float:
    m = process.at(process.clock(torch.tensor([noise_left], dtype=torch.float64)))
    return float(m.sigma / m.alpha)
