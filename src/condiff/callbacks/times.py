"""Times that are chosen by the losses so far: what a step has found reaches their distribution."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from condiff.callbacks.ranks import Alone, Ranks

STATE = "times"


class LearnedTimes(Callback):
    """Tells the time sampler of a method the losses of the global batch; what it has learned is checkpointed.

    Every rank is told the same, in the order of the batch, so that all draw from one distribution. On a GPU
    the host waits for the losses of each step.
    """

    def __init__(self, ranks: Ranks | None = None) -> None:
        self.ranks = ranks or Alone()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        times, by_noise = _learning(pl_module), getattr(pl_module, "by_noise", None)
        if times is None or by_noise is None:
            return
        drawn, losses = times.drawn.cpu(), by_noise[1].double().cpu()
        if self.ranks.count > 1:
            size: int = pl_module.training_settings.batch_size  # pyright: ignore
            drawn, losses = (self._whole(part, batch["place"].cpu(), size) for part in (drawn, losses))
        times.learn(drawn.long(), losses)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        times = _learning(pl_module)
        if times is not None:
            checkpoint[STATE] = times.state()

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        times = _learning(pl_module)
        if times is not None:
            times.restore(checkpoint[STATE])

    def _whole(self, part: Tensor, place: Tensor, size: int) -> Tensor:
        """Of every sample of the global batch, [size], from what each rank has at its own places."""
        own = torch.zeros(size, dtype=torch.float64)
        own[place] = part.double()
        return torch.tensor(self.ranks.total(*own.tolist()), dtype=torch.float64)


def _learning(module: LightningModule) -> Any:
    times = getattr(module, "times", None)
    return times if getattr(times, "learns", False) else None
