"""What every training of an autoencoder has in common."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from condiff.autoencoders.precision import at_least_single
from condiff.autoencoders.space import Autoencoder
from condiff.diffusion.randomness import Draws
from condiff.methods.adversary import PatchAdversary
from condiff.methods.method import Method
from condiff.methods.optimizers import AdamW
from condiff.methods.reconstruction import Reconstruction
from condiff.methods.settings import Training

ADVERSARY = "adversary"  # in a checkpoint: the state of its optimizer


@dataclass(frozen=True)
class Passed:
    """What became of a batch on its way through an autoencoder."""

    decoded: Tensor  # [B, C, H, W]
    loss: Tensor  # scalar: what is asked of the latents
    told: dict[str, Tensor]  # scalars to log


class FirstStage(Method):
    """An autoencoder learns to give pictures back, and perhaps to pass before a discriminator.

    The discriminator learns after each step of the autoencoder, on the same reconstructions; its steps are
    none of Lightning's, so a step is one of the autoencoder wherever steps are counted. Every loss is a mean
    over a picture's elements.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        reconstruction: Reconstruction,
        optimizer: AdamW,
        training: Training,
        seed: int,
        adversary: PatchAdversary | None,
    ) -> None:
        super().__init__(optimizer, training, seed)
        self.autoencoder, self.reconstruction = autoencoder, reconstruction
        self.adversary = adversary and adversary.begin(autoencoder.channels, training)
        self.restored: Mapping[str, Any] | None = None
        self.seen: list[tuple[Tensor, Tensor]] = []  # pictures of a step and what came of them, part by part

    @property
    def trained(self) -> nn.Module:
        return self.autoencoder

    def trainable(self) -> list[nn.Parameter]:
        """The autoencoder, and what of its loss is learned: of use only while it trains, and not saved."""
        return [*super().trainable(), *self.reconstruction.parameters()]

    def without_decay(self) -> list[nn.Parameter]:
        return [*self.reconstruction.parameters()]

    @abstractmethod
    def passed(self, images: Tensor, draws: Draws) -> Passed:
        """Images, [B, C, H, W] in [-1, 1], through encoder and decoder."""

    def in_balance(self, images: Tensor) -> int:
        """How often a mean over elements counts where it is put in balance with the adversary."""
        return 1

    def loss(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Tensor]:
        images = batch["image"]
        passed = self.passed(images, draws)
        unlikely = self.reconstruction(passed.decoded, images).mean()
        loss, told = unlikely + passed.loss, dict(passed.told)
        if self.adversary is not None and self.adversary.judges(draws.step):
            last, whole, num = self.autoencoder.last, self.parts.whole, self.in_balance(images)
            against, more = self.adversary.loss(passed.decoded, num * unlikely, last, whole)
            loss, told = loss + against / num, told | more
        self.seen.append((images, passed.decoded.detach()))
        square = mse_loss(at_least_single(passed.decoded.detach()), at_least_single(images))
        learned = {name: value.detach().clone() for name, value in self.reconstruction.named_parameters()}
        return {"loss": loss, "psnr": psnr(square), **told, **learned}

    def training_step(self, batch: Mapping[str, Any], index: int) -> Tensor:
        self.seen = []
        return super().training_step(batch, index)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        step = self.trainer.global_step
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.stepped(step)

    def stepped(self, step: int) -> None:
        """What follows the autoencoder's step of this number, from 0, before anything is saved."""
        if self.adversary is not None and self.adversary.judges(step):
            with self.trainer.precision_plugin.forward_context():
                self.scalars |= self.adversary.learn(self.seen, self.parts.whole)

    def on_train_start(self) -> None:
        if self.restored is not None and self.adversary is not None:
            self.adversary.restore(self.restored)  # once its weights are on their device

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.adversary is not None:
            checkpoint[ADVERSARY] = self.adversary.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.restored = checkpoint.get(ADVERSARY)


def psnr(square: Tensor) -> Tensor:
    """Peak signal-to-noise ratio, dB, of images in [-1, 1] with this mean squared error."""
    return 10 * torch.log10(4 / square.clamp(min=2**-52))
