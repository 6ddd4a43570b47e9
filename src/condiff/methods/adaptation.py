"""Training of some parameters of a finished denoiser: a low-rank adapter, or all of them."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from condiff.adapters.tuning import trained_so
from condiff.autoencoders.space import LatentSpace
from condiff.data.pairs import is_second
from condiff.data.shuffled import shuffled
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.randomness import Draws
from condiff.diffusion.times import TimeSampler
from condiff.diffusion.weights import MinSNR, Weighting
from condiff.methods.diffusion import Conditioner, Diffusion
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training
from condiff.ranges import Natural, NonNegative, Positive, Probability, checked


class WithText(nn.Module):
    """A denoiser's network and the encoders of its texts, trained together."""

    def __init__(self, network: nn.Module, text: nn.ModuleDict) -> None:
        super().__init__()
        self.network, self.text = network, text


class Adaptation(Diffusion):
    """Diffusion's own loss; what asks for no gradient is the base, which is not saved again.

    noise_offset: of noise that a channel has alike in all places, beside the rest (Guttenberg 2023, a note
        of crosslabs.org; from memory). A base learns darker and brighter pictures from it.
    min_snr: gamma of the weights of times, MinSNR, in the place of those of the base's objective.
    own_times: which are drawn in the place of those of the base's objective. What a hint says is seen in a
        noisy picture, too, unless nearly all of it is noise: there it is learned.
    shuffle_after: parts of a caption, between its commas, that stay first; the others come in an order drawn
        anew for each sample of a step, and are encoded then. None: captions are as they are.
    """

    begins_at_a_base = True
    factors: Mapping[str, float] = {}  # of the rate, by ends of names of layers, of which the last counts
    prior_weight: float | None = None  # of what the base draws, where that is every other sample of a batch

    @checked
    def __init__(
        self,
        denoiser: NetworkDenoiser,
        conditioner: Conditioner,
        times: TimeSampler,
        weight: Weighting,
        optimizer: AdamW,
        training: Training,
        seed: int,
        drop_condition: Probability,
        space: LatentSpace | None = None,
        noise_offset: NonNegative = 0.0,
        min_snr: Positive | None = None,
        shuffle_after: Natural | None = None,
        own_times: TimeSampler | None = None,
    ) -> None:
        own = weight if min_snr is None else MinSNR(min_snr)
        times = own_times or times
        super().__init__(denoiser, conditioner, times, own, optimizer, training, seed, drop_condition, space)
        self.noise_offset, self.shuffle_after = noise_offset, shuffle_after
        self.text: nn.ModuleDict | None = None  # encoders that are trained, too
        self._whole = (denoiser.network,)  # what holds both; in a tuple, so that nothing is saved twice

    def train_text(self, networks: nn.ModuleDict, rate: float, leaves_some: bool) -> None:
        """Train what asks for a gradient in these as well, at the rate of the optimizer times another one."""
        self.text, self.text_rate, self.leaves_some = networks, rate, leaves_some
        self.can_be_divided = False
        self._whole = (WithText(self.denoiser.network, networks),)

    @property
    def trained(self) -> nn.Module:
        return self._whole[0]

    def train_instead(self, network: nn.Module) -> None:
        super().train_instead(network)
        self._whole = (network,)

    def rates(self) -> dict[int, float]:
        """ValueError of an end of a name that nothing has which is trained."""
        text = {} if self.text is None else {id(p): self.text_rate for p in self.text.parameters()}
        found = trained_so(self.factors, self.trained)
        for factor, weights in zip(self.factors.values(), found, strict=True):
            text |= {id(weight): factor for weight in weights}
        return text

    def noise(self, x0: Tensor, draws: Draws) -> Tensor:
        noise = super().noise(x0, draws)
        if self.noise_offset == 0:
            return noise
        return noise + self.noise_offset * draws.normal("noise_offset", x0.shape[1], 1, 1)

    def condition(self, batch: Mapping[str, Any], draws: Draws) -> tuple[Condition, dict[str, Tensor]]:
        if self.shuffle_after is None:
            return super().condition(batch, draws)
        texts = shuffled(batch["text"], self.shuffle_after, draws.uniform)
        with self.conditioner.anew():  # there are too many orders to keep what each is encoded to
            return super().condition({**batch, "text": texts}, draws)

    def reduced(self, loss: Tensor, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """With a prior, the mean over the subject and ``prior_weight`` times that over what the base draws.

        (Ruiz 2023, eq. 2), as weights of samples: a mean over all, of whatever parts a batch is taken in.
        """
        if self.prior_weight is None:
            return super().reduced(loss, batch)
        size = self.training_settings.batch_size
        prior = is_second(batch["place"])
        of_subject = loss.masked_fill(prior, 0).mean() * (size / (size - size // 2))
        of_prior = loss.masked_fill(~prior, 0).mean() * (size / (size // 2))
        each = {"loss_subject": of_subject.detach(), "loss_prior": of_prior.detach()}
        return {"loss": of_subject + self.prior_weight * of_prior, **each}

    def saved(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        names = {name for name, weight in self.trained.named_parameters() if weight.requires_grad}
        return {name: state[name] for name in names}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        names = {name for name, weight in self.named_parameters() if weight.requires_grad}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: value for name, value in state.items() if name in names}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The base is as it was given, so that all is there and Lightning can be strict."""
        checkpoint["state_dict"] = {**self.state_dict(), **checkpoint["state_dict"]}
