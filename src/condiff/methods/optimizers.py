"""Optimizers with their learning-rate schedule: parameters and a number of steps in, both out."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from condiff.pretrained import library
from condiff.ranges import Fraction, Natural, NonNegative, Positive, Probability, checked


class AdamW:
    """torch's AdamW; linear warm-up, a flat part, then a half cosine down to ``floor`` times lr.

    ``flat`` is the share of the steps after which the rate starts to fall: 0 is a plain cosine, 1 a
    constant rate. ``fused`` takes a step in one kernel instead of one for each of its operations.
    """

    takes_parts: ClassVar[bool] = True  # of parameters that processes hold in parts

    @checked
    def __init__(
        self,
        lr: Positive,
        beta1: Probability = 0.9,
        beta2: Probability = 0.999,
        weight_decay: NonNegative = 0.01,
        warmup: Natural = 0,
        flat: Fraction = 1.0,
        floor: Fraction = 0.0,
        fused: bool = True,
    ) -> None:
        self.lr, self.betas, self.weight_decay = lr, (beta1, beta2), weight_decay
        self.warmup, self.flat, self.floor, self.fused = warmup, flat, floor, fused

    def __call__(
        self,
        parameters: Iterable[nn.Parameter],
        steps: int,
        without_decay: Iterable[nn.Parameter] = (),
        rates: Mapping[int, float] | None = None,
    ) -> tuple[torch.optim.Optimizer, LambdaLR]:
        """rates: by the id of a parameter what lr is multiplied by for it, where that is not 1."""
        spared, rates = {id(parameter) for parameter in without_decay}, rates or {}
        found: dict[tuple[float, float], list[nn.Parameter]] = {(self.weight_decay, 1.0): []}
        for parameter in parameters:
            decay = 0.0 if id(parameter) in spared else self.weight_decay
            found.setdefault((decay, rates.get(id(parameter), 1.0)), []).append(parameter)
        groups: list[dict[str, Any]] = [
            {"params": some, "weight_decay": decay, "lr": self.lr * rate}
            for (decay, rate), some in found.items()
        ]
        optimizer = self.made(groups)
        return optimizer, LambdaLR(optimizer, lambda step: self.factor(step / steps, step))

    def made(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            groups, self.lr, betas=self.betas, weight_decay=self.weight_decay, fused=self.fused
        )

    def factor(self, share: float, step: int) -> float:
        """What lr is multiplied by at a step that is this share of all steps into the training."""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if share < self.flat:
            return warm
        fall = (share - self.flat) / max(1 - self.flat, 1e-9)
        return warm * max(self.floor, self.fallen(min(fall, 1.0)))

    def fallen(self, share: float) -> float:
        """What is left of the rate at a share of its way down."""
        return (1 + math.cos(math.pi * share)) / 2


class AdamWOnALine(AdamW):
    """The same with a rate that falls on a line, as ADM's classifiers are trained."""

    def fallen(self, share: float) -> float:
        return 1 - share


class AdamW8bit(AdamW):
    """bitsandbytes' own: moments in eight bits, of tensors of 4,096 numbers or more (Dettmers 2022)."""

    takes_parts: ClassVar[bool] = False
    package: ClassVar[str] = "bitsandbytes"  # that the extra eight_bit brings

    def made(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        make = library(self.package, "eight_bit").optim.AdamW8bit
        return make(groups, self.lr, betas=self.betas, weight_decay=self.weight_decay)
