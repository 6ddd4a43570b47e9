"""Plain conditional diffusion: DDPM, latent classifier-free guidance and rectified flow are all this."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from condiff.autoencoders.space import LatentSpace
from condiff.diffusion.condition import Condition
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.randomness import Draws
from condiff.diffusion.times import TimeSampler
from condiff.diffusion.weights import Weighting
from condiff.methods.method import Method, clean
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training
from condiff.ranges import Probability, checked


class Conditioner(Protocol):
    """From a batch to its condition, and what it is to ask for less."""

    most_dropped: ClassVar[float]

    def __call__(self, batch: Mapping[str, Any]) -> Condition: ...

    def dropped(
        self, batch: Mapping[str, Any], uniform: Callable[[str], Tensor], share: float
    ) -> tuple[Condition, dict[str, Tensor]]: ...

    def anew(self) -> AbstractContextManager[None]: ...


class Diffusion(Method):
    """Trains a denoiser; drops the condition of some samples so that guidance can be had later."""

    can_be_divided = True

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
    ) -> None:
        super().__init__(optimizer, training, seed)
        if times.learns and training.accumulate > 1:
            raise ValueError(
                f"Diffusion.times: {type(times).__name__} learns from whole batches; use trainer.accumulate=1"
            )
        if drop_condition > conditioner.most_dropped:
            raise ValueError(
                f"Diffusion.drop_condition must be at most {conditioner.most_dropped:.3g} with"
                f" {type(conditioner).__name__}, got {drop_condition}"
            )
        self.denoiser = denoiser
        self.conditioner = conditioner
        self.times, self.weight = times, weight
        self.drop_condition = drop_condition
        self.space = space

    @property
    def trained(self) -> nn.Module:
        return self.denoiser.network

    def train_instead(self, network: nn.Module) -> None:
        self.denoiser.network = network

    def loss(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Tensor]:
        x0 = clean(batch, draws, self.space)
        t = self.times(draws, self.denoiser.process)
        cond, lacking = self.condition(batch, draws)
        error, m = self.denoiser.loss(x0, self.noise(x0, draws), t, cond)
        weighted = self.weight(m, self.denoiser.parameterization) * error
        self.by_noise = m.angle.detach().flatten(), weighted.detach().flatten()
        balance = self.times.balance
        loss = weighted if balance is None else balance.to(weighted) * weighted.flatten()
        dropped = {f"dropped_{name}": which.float().mean() for name, which in lacking.items()}
        self.shares = tuple(dropped)
        return {**self.reduced(loss.flatten(), batch), "error": error.detach().mean(), **dropped}

    def noise(self, x0: Tensor, draws: Draws) -> Tensor:
        """What is added to x0, of its shape."""
        return draws.normal("eps", *x0.shape[1:])

    def reduced(self, loss: Tensor, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """What is minimised, "loss", of the losses, [B], of a batch or a part of one."""
        return {"loss": loss.mean()}

    def condition(self, batch: Mapping[str, Any], draws: Draws) -> tuple[Condition, dict[str, Tensor]]:
        """The batch's condition, a ``drop_condition`` share of it not asked for, and what who is not told."""
        if self.drop_condition == 0:
            return self.conditioner(batch), {}
        return self.conditioner.dropped(batch, draws.uniform, self.drop_condition)
