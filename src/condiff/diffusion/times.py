"""Which times are trained on."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from condiff.diffusion.process import Process
from condiff.diffusion.randomness import Draws
from condiff.ranges import Positive, Real, checked


class TimeSampler(ABC):
    """A distribution of training times. One that ``learns`` is told the losses of the times it has drawn."""

    learns: ClassVar[bool] = False
    balance: Tensor | None = None  # [n], what the losses of the times just drawn are multiplied by

    @abstractmethod
    def __call__(self, draws: Draws, process: Process) -> Tensor:
        """Times of this step's samples, [n] float64 in (t_min, t_max]."""


class Uniform(TimeSampler):
    """As the process paces its time, one draw in each of batch_size equal parts (Kingma 2021, app. I.1)."""

    def __call__(self, draws: Draws, process: Process) -> Tensor:
        # counted down from the end of each part, so that the data end, where sigma is 0, is never drawn
        return process.training_time(_one_in_each_part(draws))


class LogitNormal(TimeSampler):
    """Middle times more often (Esser 2024, eq. 19); composes with a flow's shift.

    ``stratified``: one draw in each of batch_size parts of equal probability, as Uniform has them, so that a
    small batch sees all kinds of times. The distribution of a draw is the same.
    """

    @checked
    def __init__(self, mean: Real = 0.0, std: Positive = 1.0, stratified: bool = False) -> None:
        self.mean, self.std, self.stratified = mean, std, stratified

    def __call__(self, draws: Draws, process: Process) -> Tensor:
        if self.stratified:
            normal = torch.special.ndtri(_one_in_each_part(draws))
        else:
            normal = draws.normal("time").double()
        return process.training_time(torch.sigmoid(self.mean + self.std * normal))


class LogNormal(TimeSampler):
    """Noise levels with a normal logarithm, within the process's range (Karras 2022, table 1)."""

    @checked
    def __init__(self, p_mean: Real = -1.2, p_std: Positive = 1.2) -> None:
        self.p_mean, self.p_std = p_mean, p_std

    def __call__(self, draws: Draws, process: Process) -> Tensor:
        level = torch.exp(self.p_mean + self.p_std * draws.normal("time").double())
        return process.time_of(level).clamp(process.t_low, process.t_max)


def _one_in_each_part(draws: Draws) -> Tensor:
    """[n] in (0, 1]"""
    return (draws.place + 1 - draws.uniform("time")) / draws.batch_size
