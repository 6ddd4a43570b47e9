"""What every trained thing of a study is: a LightningModule whose randomness is keyed by step and place."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from lightning import LightningModule
from torch import Tensor, nn

from condiff.autoencoders.space import LatentSpace, draw
from condiff.diffusion.randomness import Draws
from condiff.divided import like
from condiff.methods.optimizers import AdamW
from condiff.methods.settings import Training

ByNoise = tuple[Tensor, Tensor]  # each sample's noise level, from 0 (data) to 1, and its loss, [B]


class Parts(Protocol):
    """The parts of a global batch that processes share: each must call these in turn with the others."""

    count: int  # of the processes

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

    count = 1

    def whole(self, value: Tensor) -> Tensor:
        return value

    def summed(self, value: Tensor) -> Tensor:
        return value

    def joined(self, rows: Tensor) -> Tensor:
        return rows


class Method(LightningModule):
    """Draws nothing from torch's global generator: sampling or measuring in between changes nothing."""

    by_noise: ByNoise | None = None  # of the last step, where there are any
    shares: Collection[str] = ()  # the scalars that are shares of samples
    begins_at_a_base = False  # whether what it trains draws something before its first step
    can_be_divided = False  # whether processes may hold parts of what it trains
    leaves_some = False  # whether a step leaves some of what is trained without a gradient

    def __init__(self, optimizer: AdamW, training: Training, seed: int) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.training_settings = training
        self.seed = seed
        # Where processes share a batch: the loss of this one's part of it, and its weight in their mean
        self.part_loss: Callable[[Mapping[str, Any], Draws], dict[str, Tensor]] = self.loss
        self.part_weight = 1.0
        self.parts: Parts = _OnePart()
        self.unsynced: Callable[[], AbstractContextManager[Any]] = nullcontext  # gradients stay here for now
        self.scaled: Callable[[Tensor], Tensor] = Tensor.clone  # by the scale that float16 has a loss times
        self.mirrors = False  # whether half of what it sees is mirrored

    @property
    @abstractmethod
    def trained(self) -> nn.Module:
        """What is saved in the end."""

    def train_instead(self, network: nn.Module) -> None:
        """Of one that ``can_be_divided``: train another network, of the same parameters, than ``trained``."""
        raise NotImplementedError

    @abstractmethod
    def loss(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Tensor]:
        """Scalars to log, means over the samples; "loss" is the one that is minimised."""

    def training_step(self, batch: Mapping[str, Any], _: int) -> Tensor:
        """The loss of the last part of the batch; those before it have left their gradients."""
        settings, size = self.training_settings, len(batch["place"])
        parts = [*_parts(batch, self._num_parts)]
        if settings.accumulate > 1:
            for parameter in self.trainable():
                parameter.grad = None
        *before, last = parts
        told = [self._part_way(part, size) for part in before]
        loss, scalars, noise = self._through(last, size)
        told.append((scalars, noise))
        self.scalars = {name: torch.stack([own[name] for own, _ in told]).sum(0) for name in scalars}
        if noise is not None:
            self.by_noise = _joined([own for _, own in told if own is not None])
        return loss

    def tried(self, batch: Mapping[str, Any]) -> Tensor:
        """The loss of the first part of a batch, of which no gradient is shared and nothing logged."""
        with self.unsynced():
            return self._of_part(next(_parts(batch, self._num_parts)))["loss"]

    @property
    def _num_parts(self) -> int:
        """Of a batch, the same on all ranks: what the smallest share has samples for."""
        settings = self.training_settings
        return min(settings.accumulate, settings.batch_size // self.parts.count)

    def _part_way(self, part: Mapping[str, Any], size: int) -> tuple[dict[str, Tensor], ByNoise | None]:
        """Leave the gradients of a part of a batch of this size, to be shared with those of the last one."""
        with self.unsynced():
            loss, scalars, noise = self._through(part, size)
            self.scaled(loss).backward()
        return scalars, noise

    def _through(
        self, part: Mapping[str, Any], size: int
    ) -> tuple[Tensor, dict[str, Tensor], ByNoise | None]:
        """What a part of a batch of this size adds to its loss and scalars, and its losses by noise."""
        found, share = self._of_part(part), len(part["place"]) / size
        scalars = {name: share * value.detach() for name, value in found.items()}
        return found["loss"] * (share * self.part_weight), scalars, self.by_noise

    def _of_part(self, part: Mapping[str, Any]) -> dict[str, Tensor]:
        settings = self.training_settings
        draws = Draws(self.seed, part["step"], settings.batch_size, part["place"], self.device)
        return self.part_loss(mirrored(part, draws) if self.mirrors else part, draws)

    def transfer_batch_to_device(
        self, batch: Mapping[str, Any], device: torch.device, dataloader_idx: int
    ) -> dict[str, Any]:
        """Its tensors; Lightning itself would look into every list for more, key by key."""
        return {
            name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in batch.items()
        }

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        if self.training_settings.accumulate == 1:  # else before the first part: this comes after it
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def trainable(self) -> list[nn.Parameter]:
        """What the optimizer, the gradient clipping and the moving average are given."""
        return [p for p in self.trained.parameters() if p.requires_grad]

    def without_decay(self) -> list[nn.Parameter]:
        """Those of ``trainable`` that a weight decay would pull to where they should not be."""
        return []

    def rates(self) -> dict[int, float]:
        """What the rate of some of ``trainable`` is multiplied by, by the id of each."""
        return {}

    def saved(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is saved in the end of a state of ``trained``, its own or an averaged one: all of it."""
        return state

    def configure_optimizers(self) -> Any:
        optimizer, schedule = self.optimizer(
            self.trainable(), self.training_settings.steps, self.without_decay(), self.rates()
        )
        optimizer.register_load_state_dict_pre_hook(_laid_out)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def _laid_out(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Its state with what has a parameter's shape as that parameter is held here."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def at(index: int, value: Any) -> Any:
        held = parameters[index]
        return like(value, held) if isinstance(value, Tensor) and value.shape == held.shape else value

    own = {
        index: {name: at(index, v) for name, v in values.items()} for index, values in state["state"].items()
    }
    return {**state, "state": own}


def _parts(batch: Mapping[str, Any], num: int) -> Iterator[Mapping[str, Any]]:
    """A batch in so many parts."""
    if num == 1:
        yield batch
        return
    size = len(batch["place"])
    for k in range(num):
        own = slice(size * k // num, size * (k + 1) // num)
        yield {name: v[own] if isinstance(v, Tensor | list) else v for name, v in batch.items()}


def _joined(parts: Sequence[ByNoise]) -> ByNoise:
    return torch.cat([noise for noise, _ in parts]), torch.cat([losses for _, losses in parts])


def mirrored(batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
    """The batch with half of its pictures left for right: of latents, those of the mirrored pictures.

    A latent mirrored is not the latent of the mirrored picture, so both were encoded.
    """
    turned = draws.uniform("mirror") < 0.5
    places = turned.view(-1, 1, 1, 1)
    found = {name: value for name, value in batch.items() if name != "mirrored"}
    if "image" in batch:
        found["image"] = torch.where(places, batch["image"].flip(-1), batch["image"])
    if "control" in batch:
        found["control"] = torch.where(places, batch["control"].flip(-1), batch["control"])
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
