"""Guidance by the gradient of a classifier of noisy images (Dhariwal & Nichol 2021)."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import Denoiser
from condiff.diffusion.guidance import Guidance, Guided, Models, NoGuidance, Rule
from condiff.diffusion.parameterization import Prediction
from condiff.diffusion.process import Marginal
from condiff.ranges import NonNegative, checked

LogProbability = Callable[[Tensor, Marginal, Condition], Tensor]
Base = Literal["free", "condition"]


class Classifier:
    """eps - scale sigma grad log p(c | x_t) (alg. 2), and the x0 that goes with it.

    The denoiser is asked for its ``base``: free of the condition where it can be, so that scale 1 is the
    conditional model (Bayes), or the condition itself, which the classifier then sharpens. What ``inner``
    makes of the denoiser is moved: x0 kept in range, or guided without a classifier.
    """

    needs_null: ClassVar[bool] = False
    needs_stage: ClassVar[str] = "classifier"

    @checked
    def __init__(self, scale: NonNegative, base: Base = "free", inner: Guidance | None = None) -> None:
        self.scale, self.inner = scale, inner or NoGuidance()
        self.base: Base = base

    def __call__(self, models: Models) -> Denoiser:
        _required(models, type(self).__name__)
        return Guided(models, self._start)

    def _start(self, models: Models) -> Rule:
        log_p, denoiser = _required(models, type(self).__name__), self.inner(models)

        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            free = denoiser(x_t, m, _asked(cond, self.base))
            # d x0 = sigma^2 / alpha grad; where no signal is left there is nothing to classify
            push = torch.where(m.alpha > 0, m.sigma**2 / m.alpha, 0)
            return free.moved(free.x0 + self.scale * push * gradient(log_p, x_t, m, cond), x_t, m)

        return rule


class ClassifierMean:
    """The mean of an ancestral step, moved by scale times its variance times the gradient (alg. 1).

    The gradient is that at x_t, as is usual in practice, or ``at`` the mean that is moved, around which the
    paper expands (eq. 5). ``base`` and ``inner`` are those of ``Classifier``.
    """

    needs_null: ClassVar[bool] = False
    needs_stage: ClassVar[str] = "classifier"
    asks: ClassVar[str] = "pull"  # of the sampler

    @checked
    def __init__(
        self,
        scale: NonNegative,
        at: Literal["x_t", "mean"] = "x_t",
        base: Base = "free",
        inner: Guidance | None = None,
    ) -> None:
        self.scale, self.at, self.inner = scale, at, inner or NoGuidance()
        self.base: Base = base

    def __call__(self, models: Models) -> Denoiser:
        _required(models, type(self).__name__)
        return Guided(models, self._start)

    def _start(self, models: Models) -> Rule:
        log_p, denoiser = _required(models, type(self).__name__), self.inner(models)

        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            def pull(mean: Tensor) -> Tensor:
                return self.scale * gradient(log_p, mean if self.at == "mean" else x_t, m, cond)

            return replace(denoiser(x_t, m, _asked(cond, self.base)), pull=pull)

        return rule


def gradient(log_p: LogProbability, x: Tensor, m: Marginal, cond: Condition) -> Tensor:
    """Of log p(c | x), sample by sample: that of the sum, so the size of the batch does not matter."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (found,) = torch.autograd.grad(log_p(x, m, cond).sum(), x)
    return found.to(m.sigma.dtype)


def _required(models: Models, name: str) -> LogProbability:
    if models.classifier is None:
        raise ValueError(f"{name} needs a classifier of noisy images: give it to Models(classifier=...)")
    return models.classifier


def _asked(cond: Condition, base: Base) -> Condition:
    return cond if base == "condition" or cond.null is None else cond.without()
