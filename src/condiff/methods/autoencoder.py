"""Training of an autoencoder with a Gaussian latent."""

from torch import Tensor

from condiff.autoencoders.precision import at_least_single
from condiff.autoencoders.space import Autoencoder, draw
from condiff.diffusion.randomness import Draws
from condiff.methods.adversary import PatchAdversary
from condiff.methods.first_stage import FirstStage, Passed
from condiff.methods.optimizers import AdamW
from condiff.methods.reconstruction import Reconstruction
from condiff.methods.settings import Training
from condiff.ranges import NonNegative, checked


class AutoencoderKL(FirstStage):
    """Reconstruction and ``kl_weight KL(q(z|x) || N(0, I))``.

    Both are sums over a picture, divided by the number of the picture's elements: with a learned
    reconstruction without a perceptual distance and a ``kl_weight`` of 1 the loss is the negative evidence
    lower bound in nats a dimension. The weight is for sums, as Rombach 2022's 1e-6 is: for a mean over the
    latent's own elements it would be weaker by their number over that of the picture's.
    """

    @checked
    def __init__(
        self,
        autoencoder: Autoencoder,
        reconstruction: Reconstruction,
        optimizer: AdamW,
        training: Training,
        seed: int,
        kl_weight: NonNegative = 1e-6,
        adversary: PatchAdversary | None = None,
    ) -> None:
        super().__init__(autoencoder, reconstruction, optimizer, training, seed, adversary)
        self.kl_weight = kl_weight

    def in_balance(self, images: Tensor) -> int:
        """All elements: the code of Rombach 2022 limits the adaptive weight of a sum over a picture."""
        return images[0].numel()

    def passed(self, images: Tensor, draws: Draws) -> Passed:
        moments = at_least_single(self.autoencoder.encode(images))
        noise = draws.normal("latent", moments.shape[1] // 2, *moments.shape[2:])
        decoded, divergence = self.autoencoder.decode(draw(moments, noise)), kl(moments)
        share = divergence[0].numel() / images[0].numel()
        return Passed(decoded, self.kl_weight * share * divergence.mean(), {"kl": divergence.mean().detach()})


def kl(moments: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) of each latent element, [B, C', h, w], in nats."""
    mean, log_variance = moments.chunk(2, dim=1)
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2
