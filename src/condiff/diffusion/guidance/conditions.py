"""Guidance by more conditions than one: away from another, towards several, text and picture apart."""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import Denoiser
from condiff.diffusion.guidance import Guided, Models, Rule, together
from condiff.diffusion.parameterization import Prediction
from condiff.diffusion.process import Marginal
from condiff.ranges import Natural, NonNegative, Real, checked


class Negative:
    """negative + scale (cond - negative): away from another condition instead of from none.

    The other condition is a ``label`` for all samples, or what each sample brings as ``Condition.others``.
    """

    needs_null: ClassVar[bool] = False
    names_classes: ClassVar[str] = "label"

    @checked
    def __init__(self, scale: NonNegative, label: Natural | None = None) -> None:
        self.scale = scale
        self.labels = None if label is None else [label]

    def __call__(self, models: Models) -> Denoiser:
        return models.denoiser if self.scale == 1 else Guided(models, self._start)

    def _start(self, models: Models) -> Rule:
        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            others = _others(cond, self.labels, 1, "Negative.label")
            asked, negative = together(models.denoiser, x_t, m, cond, *others)
            return Prediction.affine((self.scale, asked), (1 - self.scale, negative))

        return rule


class Composition:
    """null + own_scale (cond - null) + sum of scale_i (c_i - null) (Liu 2022, eq. 11 and 13).

    A positive scale is AND, a negative one NOT. The c_i are the same ``labels`` for all samples, or what
    each sample brings as ``Condition.others``.
    """

    needs_null: ClassVar[bool] = True
    names_classes: ClassVar[str] = "labels"
    called_scales: ClassVar[tuple[str, ...]] = ("own_scale", "scales")

    @checked
    def __init__(
        self, scales: list[Real], labels: list[Natural] | None = None, own_scale: Real = 1.0
    ) -> None:
        if not scales:
            raise ValueError("Composition.scales must have a scale for at least one condition, got []")
        if labels is not None and len(labels) != len(scales):
            raise ValueError(
                f"Composition.labels must be as many as scales, got {len(labels)} and {len(scales)}"
            )
        self.scales, self.labels, self.own_scale = scales, labels, own_scale

    def __call__(self, models: Models) -> Denoiser:
        return Guided(models, self._start)

    def _start(self, models: Models) -> Rule:
        scales = [self.own_scale, *self.scales]

        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            others = _others(cond, self.labels, len(self.scales), "Composition.labels")
            *asked, free = together(models.denoiser, x_t, m, cond, *others, cond.without())
            return Prediction.affine(*zip(scales, asked, strict=True), (1 - sum(scales), free))

        return rule


class TextAndImage:
    """Two scales, for the words and for the picture to edit (Brooks 2023, eq. 3).

    null + image_scale (picture - null) + text_scale (both - picture), in this order: the words are
    measured on top of the picture.
    """

    needs_null: ClassVar[bool] = True
    needs_condition: ClassVar[tuple[str, ...]] = ("concat",)
    called_scales: ClassVar[tuple[str, ...]] = ("text_scale", "image_scale")

    @checked
    def __init__(self, text_scale: NonNegative, image_scale: NonNegative) -> None:
        self.text_scale, self.image_scale = text_scale, image_scale

    def __call__(self, models: Models) -> Denoiser:
        return Guided(models, self._start)

    def _start(self, models: Models) -> Rule:
        text, image = self.text_scale, self.image_scale

        def rule(x_t: Tensor, m: Marginal, cond: Condition) -> Prediction:
            if cond.concat is None:
                raise ValueError(
                    "TextAndImage needs a picture to edit (Condition.concat), which this study's conditioner "
                    "does not give; use guidance=cfg"
                )
            picture = cond.without("label", "tokens", "token_mask", "pooled")
            both, seen, free = together(models.denoiser, x_t, m, cond, picture, cond.without())
            return Prediction.affine((text, both), (image - text, seen), (1 - image, free))

        return rule


def _others(cond: Condition, labels: list[int] | None, n: int, name: str) -> tuple[Condition, ...]:
    """The n further conditions, of these labels or of the samples' own."""
    if labels is None:
        if len(cond.others) != n:
            raise ValueError(
                f"{name} is null, so each sample must bring {n} more (Condition.others), "
                f"got {len(cond.others)}"
            )
        return cond.others
    if cond.label is None:
        raise ValueError(f"{name} needs a study with labels; use conditioner=label")
    return tuple(replace(cond, label=torch.full_like(cond.label, label)) for label in labels)
