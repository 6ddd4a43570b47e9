"""Training of the judge: plain classification of clean, slightly moved pictures."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from condiff.diffusion.randomness import Draws
from condiff.evaluation.judge import Judge
from condiff.methods.method import Method
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training
from condiff.ranges import NonNegative, Probability, checked


class JudgeTraining(Method):
    """Cross-entropy with label smoothing; pictures are rotated, scaled and shifted at random.

    ``rotate`` in radians, ``scale`` and ``shift`` as shares of the picture: each is the largest move
    either way.
    """

    @checked
    def __init__(
        self,
        judge: Judge,
        optimizer: AdamW,
        training: Training,
        seed: int,
        smoothing: Probability = 0.05,
        rotate: NonNegative = 0.25,
        scale: Probability = 0.125,
        shift: Probability = 0.0625,
    ) -> None:
        super().__init__(optimizer, training, seed)
        self.judge = judge
        self.smoothing, self.rotate, self.scale, self.shift = smoothing, rotate, scale, shift

    @property
    def trained(self) -> nn.Module:
        return self.judge

    def loss(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Tensor]:
        logits, label = self.judge.logits(self.moved(batch["image"], draws)), batch["label"]
        accuracy = (logits.argmax(1) == label).float().mean()
        return {"loss": cross_entropy(logits, label, label_smoothing=self.smoothing), "accuracy": accuracy}

    def moved(self, images: Tensor, draws: Draws) -> Tensor:
        """The same pictures, [B, C, H, W], a little elsewhere; what comes in at the border repeats it."""
        angle, zoom, right, down = (2 * draws.uniform("augment", 4) - 1).unbind(1)
        zoom = 1 + self.scale * zoom
        cos, sin = zoom * torch.cos(self.rotate * angle), zoom * torch.sin(self.rotate * angle)
        # a shift by the whole picture is 2 in grid coordinates
        rows = [cos, -sin, 2 * self.shift * right, sin, cos, 2 * self.shift * down]
        grid = affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
        return grid_sample(images, grid.to(images), padding_mode="border", align_corners=False)
