"""How much each training time counts.

A weight w on the squared error of x0 is, on the target a x0 + b eps, w / (a - b alpha / sigma)^2: at a
given x_t an error d of x0 is one of -d alpha / sigma of eps. With the determinant alpha b - sigma a
this is w sigma^2 / determinant^2, which holds for every target and has no 0 / 0 at either end.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from condiff.diffusion.parameterization import Parameterization
from condiff.diffusion.process import Marginal
from condiff.ranges import NonNegative, Positive, checked


class Weighting(ABC):
    """A choice of weights over times."""

    @abstractmethod
    def __call__(self, m: Marginal, parameterization: Parameterization) -> Tensor:
        """What the loss of each sample is multiplied by, [B]."""


class Unit(Weighting):
    """Each time counts the same in the network's own target; with Preconditioned this is EDM's loss."""

    def __call__(self, m: Marginal, parameterization: Parameterization) -> Tensor:
        return torch.ones_like(m.sigma).flatten()


class MinSNR(Weighting):
    """min(SNR, gamma) on the error of x0 (Hang 2023)."""

    @checked
    def __init__(self, gamma: Positive = 5.0) -> None:
        self.gamma = gamma

    def __call__(self, m: Marginal, parameterization: Parameterization) -> Tensor:
        w_sigma2 = torch.minimum(m.alpha**2, self.gamma * m.sigma**2)
        return (w_sigma2 / parameterization.determinant(m) ** 2).flatten()


class P2(Weighting):
    """1 / (k + SNR)^gamma on the error of eps (Choi 2022)."""

    @checked
    def __init__(self, k: Positive = 1.0, gamma: NonNegative = 1.0) -> None:
        self.k, self.gamma = k, gamma

    def __call__(self, m: Marginal, parameterization: Parameterization) -> Tensor:
        snr = (m.alpha / m.sigma) ** 2
        w_sigma2 = m.alpha**2 / (self.k + snr) ** self.gamma
        return (w_sigma2 / parameterization.determinant(m) ** 2).flatten()
