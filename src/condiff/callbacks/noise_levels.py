"""The loss by noise level: which part of the way from data to noise a denoiser still learns."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from condiff.callbacks.ranks import Alone, Ranks

BINS = 5  # equal parts of the angle of ``Marginal``: 0 is data, 1 is noise
NAMES = tuple(f"loss_noise_{100 * i // BINS:02d}_{100 * (i + 1) // BINS:02d}" for i in range(BINS))  # percent


class LossByNoise(Callback):
    """Means over the steps since the last row of what the training step has computed anyway.

    Nothing waits for a device until a row is due. What was seen so far is part of a checkpoint, so that a
    resumed training writes the row that it would have written.
    """

    def __init__(self, ranks: Ranks | None = None) -> None:
        self.ranks = ranks or Alone()
        self.seen: list[tuple[Tensor, Tensor]] = []  # noise level and loss of each sample, [B]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        by_noise = getattr(pl_module, "by_noise", None)
        if by_noise is not None:
            self.seen.append(by_noise)

    def row(self) -> dict[str, float]:
        """The mean loss over ranks in each part that was asked about, in the order of NAMES; begins anew."""
        if not self.seen:
            return {}
        noise, loss = self._together()
        place = (noise * BINS).long().clamp(0, BINS - 1)
        count = torch.bincount(place, minlength=BINS).tolist()
        total = torch.bincount(place, weights=loss, minlength=BINS).tolist()
        self.seen = []
        sums = self.ranks.total(*total, *count)
        found = zip(NAMES, sums[:BINS], sums[BINS:], strict=True)
        return {name: total / count for name, total, count in found if count}

    def state_dict(self) -> dict[str, Any]:
        return {"seen": list(self._together()) if self.seen else []}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # of the rank that saved it; what others had seen since the last row is not in it
        self.seen = [tuple(state_dict["seen"])] if state_dict["seen"] and self.ranks.leads else []

    def _together(self) -> tuple[Tensor, Tensor]:
        """On the host, float64."""
        noise, loss = (torch.cat([part.cpu() for part in parts]) for parts in zip(*self.seen, strict=True))
        return noise.double(), loss.double()
