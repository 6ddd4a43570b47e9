"""What every trained thing of a study is: a LightningModule whose randomness is keyed by step and place."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from lightning import LightningModule
from torch import Tensor, nn

from condiff.autoencoders.space import LatentSpace, draw
from condiff.diffusion.randomness import Draws
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training


class Parts(Protocol):
    """The parts of a global batch that processes share: each must call these in turn with the others."""

    def whole(self, value: Tensor) -> Tensor:
        """Of the global batch, from the mean over the samples of this part."""
        ...

    def summed(self, value: Tensor) -> Tensor:
        """The sum over all parts."""
        ...

    def joined(self, rows: Tensor) -> Tensor:
        """The rows, [n, ...], of all parts, which may be of different numbers."""
        ...


class _OnePart:
    """All of a batch is here."""

    def whole(self, value: Tensor) -> Tensor:
        return value

    def summed(self, value: Tensor) -> Tensor:
        return value

    def joined(self, rows: Tensor) -> Tensor:
        return rows


class Method(LightningModule):
    """Draws nothing from torch's global generator: sampling or measuring in between changes nothing."""

    # Of the last step, if there are any: each sample's noise level, from 0 (data) to 1, and its loss, [B].
    by_noise: tuple[Tensor, Tensor] | None = None

    def __init__(self, optimizer: AdamW, training: Training, seed: int) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.training_settings = training
        self.seed = seed
        # Where processes share a batch: the loss of this one's part of it, and its weight in their mean
        self.part_loss: Callable[[Mapping[str, Any], Draws], dict[str, Tensor]] = self.loss
        self.part_weight = 1.0
        self.parts: Parts = _OnePart()
        self.mirrors = False  # whether half of what it sees is mirrored

    @property
    @abstractmethod
    def trained(self) -> nn.Module:
        """What is saved in the end."""

    @abstractmethod
    def loss(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Tensor]:
        """Scalars to log, means over the samples; "loss" is the one that is minimised."""

    def training_step(self, batch: Mapping[str, Any], _: int) -> Tensor:
        draws = Draws(
            self.seed, batch["step"], self.training_settings.batch_size, batch["place"], self.device
        )
        self.scalars = self.part_loss(mirrored(batch, draws) if self.mirrors else batch, draws)
        return self.scalars["loss"] * self.part_weight

    def trainable(self) -> list[nn.Parameter]:
        """What the optimizer, the gradient clipping and the moving average are given."""
        return [p for p in self.trained.parameters() if p.requires_grad]

    def without_decay(self) -> list[nn.Parameter]:
        """Those of ``trainable`` that a weight decay would pull to where they should not be."""
        return []

    def configure_optimizers(self) -> Any:
        optimizer, schedule = self.optimizer(
            self.trainable(), self.training_settings.steps, self.without_decay()
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def mirrored(batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
    """The batch with half of its pictures left for right: of latents, those of the mirrored pictures.

    A latent mirrored is not the latent of the mirrored picture, so both were encoded.
    """
    turned = draws.uniform("mirror") < 0.5
    places = turned.view(-1, 1, 1, 1)
    found = {name: value for name, value in batch.items() if name != "mirrored"}
    if "image" in batch:
        found["image"] = torch.where(places, batch["image"].flip(-1), batch["image"])
    if "moments" in batch:
        found["moments"] = torch.where(places, batch["mirrored"], batch["moments"])
    return found


def clean(batch: Mapping[str, Any], draws: Draws, space: LatentSpace | None) -> Tensor:
    """x0: the images themselves, or fresh latents of their cached moments where there is a latent space."""
    if space is None:
        return batch["image"]
    moments = batch["moments"]
    noise = draws.normal("latent", moments.shape[1] // 2, *moments.shape[2:])
    return space.normalise(draw(moments, noise))
