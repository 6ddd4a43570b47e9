"""A discriminator that an autoencoder is trained against."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from condiff.autoencoders.adversarial import (
    balance,
    gradient_at,
    hinge,
    hinge_of_generator,
    r1,
    vanilla,
    vanilla_of_generator,
)
from condiff.autoencoders.discriminator import PatchDiscriminator
from condiff.autoencoders.precision import at_least_single
from condiff.errors import DivergedError
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training
from condiff.ranges import Count, Natural, NonNegative, checked

LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "hinge": (hinge, hinge_of_generator),
    "vanilla": (vanilla, vanilla_of_generator),
}
Whole = Callable[[Tensor], Tensor]  # from a mean over a part of the global batch to that over all of it


class PatchAdversary:
    """What a discriminator of patches is, how it learns and what it counts.

    optimizer: its own, over the steps that it takes.
    width, halvings: see ``PatchDiscriminator``; 64 and 3 give patches of 70x70 pixels.
    weight: of the adversarial loss beside the adaptive one, which makes both losses move the decoder's last
        convolution alike (Esser 2021, eq. 7). 0 leaves out the whole adversary.
    start: steps of the autoencoder before either loss counts.
    r1: weight of the gradient penalty (``autoencoders.adversarial.r1``); 0 leaves it out.
    """

    @checked
    def __init__(
        self,
        optimizer: AdamW,
        width: Count = 64,
        halvings: Count = 3,
        loss: Literal["hinge", "vanilla"] = "hinge",
        weight: NonNegative = 0.5,
        start: Natural = 0,
        r1: NonNegative = 0.0,
    ) -> None:
        self.optimizer, self.width, self.halvings, self.loss = optimizer, width, halvings, loss
        self.weight, self.start, self.r1 = weight, start, r1

    def begin(self, channels: int, training: Training) -> "Adversary | None":
        """The discriminator of pictures with these channels; None where it would never count."""
        return Adversary(self, channels, training) if self.weight and self.start < training.steps else None


class Adversary(nn.Module):
    """The discriminator while it learns, with an optimizer of its own.

    Its weights ask for gradients only in its own step: whoever is judged by it hands none to them, and
    ranks exchange them here and not where those of the autoencoder are.
    """

    def __init__(self, settings: PatchAdversary, channels: int, training: Training) -> None:
        super().__init__()
        self.settings, self.clip = settings, training.clip
        self.discriminator = PatchDiscriminator(channels, settings.width, settings.halvings)
        self.of_discriminator, self.of_generator = LOSSES[settings.loss]
        self.optimizer, self.schedule = settings.optimizer(
            self.discriminator.parameters(), training.steps - settings.start
        )
        self.discriminator.requires_grad_(False)

    def judges(self, step: int) -> bool:
        """Whether it counts at a step of the autoencoder."""
        return step >= self.settings.start

    def loss(
        self, decoded: Tensor, reconstruction: Tensor, last: Tensor, whole: Whole
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What is added to the autoencoder's loss, and what there is to log.

        decoded: [B, C, H, W] with its graph; reconstruction: the loss to keep in balance with; last: the
        weight of the decoder's last convolution.
        """
        adversarial = self.of_generator(self.discriminator(decoded))
        adaptive = balance(whole(gradient_at(last, reconstruction)), whole(gradient_at(last, adversarial)))
        told = {"adversarial": adversarial.detach(), "adaptive_weight": adaptive}
        return self.settings.weight * adaptive * adversarial, told

    def learn(self, seen: Sequence[tuple[Tensor, Tensor]], whole: Whole) -> dict[str, Tensor]:
        """One step; what there is to log.

        seen: parts of a batch of pictures and what came of them, each [B, C, H, W] in [-1, 1].
        """
        parameters = [*self.discriminator.requires_grad_(True).parameters()]
        size, gradients, told = sum(len(images) for images, _ in seen), [], []
        for images, decoded in seen:
            share = len(images) / size
            loss, own = self._judged(images, decoded)
            found = torch.autograd.grad(loss, parameters)
            gradients.append(share * torch.cat([part.flatten() for part in found]))
            told.append({name: share * value.detach() for name, value in own.items()})
        self.discriminator.requires_grad_(False)
        self._step(parameters, whole(torch.stack(gradients).sum(0)))
        return {name: torch.stack([own[name] for own in told]).sum(0) for name in told[0]}

    def _judged(self, images: Tensor, decoded: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Its loss, and what there is to log."""
        logits = self.discriminator(torch.cat([images, decoded.to(images)]))
        real, fake = at_least_single(logits).chunk(2)
        loss = self.of_discriminator(real, fake)
        if self.settings.r1:
            loss = loss + self.settings.r1 * r1(self.discriminator, images)
        return loss, {"discriminator": loss, "logits_real": real.mean(), "logits_fake": fake.mean()}

    def _step(self, parameters: Sequence[nn.Parameter], gradient: Tensor) -> None:
        """gradient: of all parameters in their order."""
        parts = gradient.split([parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        norm = nn.utils.clip_grad_norm_(parameters, self.clip or float("inf"))
        if not torch.isfinite(norm):
            raise DivergedError(
                f"autoencoder: the gradient of the discriminator is {float(norm)}; lower"
                f" autoencoder.method.adversary.optimizer.lr={self.settings.optimizer.lr:g}"
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()

    def state(self) -> dict[str, Any]:
        """Of its optimizer; its weights are in the state of the module."""
        return {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(dict(state["optimizer"]))
        self.schedule.load_state_dict(dict(state["schedule"]))
