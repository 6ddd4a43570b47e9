"""Training of an autoencoder with a codebook."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from condiff.autoencoders.codebook import Assigned, Codebook, earliest, offers, perplexity, used
from condiff.autoencoders.quantizer import Quantising, VectorQuantizer
from condiff.diffusion.randomness import Draws
from condiff.methods.adversary import PatchAdversary
from condiff.methods.first_stage import FirstStage, Passed
from condiff.methods.optimizers import AdamW
from condiff.methods.reconstruction import Reconstruction
from condiff.methods.settings import Training
from condiff.ranges import Fraction, NonNegative, Positive, checked


class AutoencoderVQ(FirstStage):
    """Reconstruction through rounded latents and the losses of a ``VectorQuantizer``.

    commitment: van den Oord 2017's is 0.25.
    codebook_weight: of codebook and commitment together, beside the reconstruction.
    restart: a code that is chosen less than so many times as often as the mean one becomes a latent of the
        batch; 0 restarts none.
    restart_until: the share of the steps after which none is restarted any more, so that codes settle.
    """

    @checked
    def __init__(
        self,
        autoencoder: Quantising,
        reconstruction: Reconstruction,
        optimizer: AdamW,
        training: Training,
        seed: int,
        commitment: NonNegative = 0.25,
        codebook_weight: Positive = 1.0,
        restart: Fraction = 0.1,
        restart_until: Fraction = 0.8,
        adversary: PatchAdversary | None = None,
    ) -> None:
        super().__init__(autoencoder, reconstruction, optimizer, training, seed, adversary)
        if not isinstance(autoencoder, Quantising):
            raise ValueError(
                f"AutoencoderVQ needs a network with a codebook, got {type(autoencoder).__name__}"
            )
        if restart == 1:
            raise ValueError(f"AutoencoderVQ.restart must be below 1, got {restart}")
        self.codebook_weight, self.restart = codebook_weight, restart
        self.restart_steps = int(restart_until * training.steps)
        self.commitment = commitment
        self.coded: list[tuple[Tensor, Tensor, Draws]] = []  # latents of a step and their codes, part by part

    def without_decay(self) -> list[nn.Parameter]:
        return [*super().without_decay(), *self.codebook.parameters()]

    @property
    def codebook(self) -> Codebook:
        assert isinstance(self.autoencoder, Quantising)
        return self.autoencoder.codebook

    def passed(self, images: Tensor, draws: Draws) -> Passed:
        assert isinstance(self.autoencoder, Quantising)
        latents = self.autoencoder.encoded(images)
        found = VectorQuantizer(self.codebook, self.commitment)(latents)
        self.coded.append((latents.detach(), found.codes, draws))
        decoded = self.autoencoder.decoded(found.latents)
        return Passed(decoded, self.codebook_weight * found.loss, {"codebook": found.loss.detach()})

    def training_step(self, batch: Mapping[str, Any], index: int) -> Tensor:
        self.coded = []
        return super().training_step(batch, index)

    def stepped(self, step: int) -> None:
        """The codes move once a step, by what the global batch chose."""
        codebook = self.codebook
        own = torch.stack([codebook.assigned(latents, codes).sums for latents, codes, _ in self.coded]).sum(0)
        assigned = Assigned(self.parts.summed(own))
        codebook.absorb(assigned)
        num = 0
        if self.restart and step < self.restart_steps:
            dead = codebook.dead(self.restart)
            if num := int(dead.sum()):
                found = torch.cat([offers(latents, draws, num) for latents, _, draws in self.coded])
                first = earliest(self.parts.joined(earliest(found, num)), num)
                self.forget(codebook.restart(dead, first))
        self.scalars["codes_restarted"] = torch.tensor(float(num))
        self.scalars |= {"codes_used": used(assigned.counts), "perplexity": perplexity(assigned.counts)}
        super().stepped(step)

    def forget(self, codes: Tensor) -> None:
        """What the optimizer remembers of the gradients of restarted codes is of those they replace."""
        (optimizer,) = self.trainer.optimizers
        for name, value in optimizer.state.get(self.codebook.vectors, {}).items():
            if name != "step":
                value[codes] = 0
