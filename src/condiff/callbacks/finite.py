"""Steps that are not finite: none of them reaches the weights, and what is known of them is left behind."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from condiff.callbacks.ranks import Alone, Ranks
from condiff.callbacks.trainings import settings_of
from condiff.divided import whole
from condiff.errors import CondiffError, DivergedError
from condiff.files import write_json

DIVERGED = "diverged"  # folder beside the checkpoints
SKIPS = 20  # steps in a row that a loss scale may find too large; from 65,536 on, 2^20 down is under 0.1


class FiniteSteps(Callback):
    """Clips the gradient's norm; one that is not finite, or such a loss, stops the run before a step.

    Under ``16-mixed`` the loss is scaled, and a gradient that does not fit float16 is no fault of the model:
    the weights stay and their averages with them, the scale is halved and the training goes on. Such a step
    counts, for the schedule, the warm-up of an average and the draws alike; more than ``SKIPS`` in a row stop
    the run, and so does a loss that is not finite, which no scale explains.

    name: of the stage that trains. folder: where ``diverged/`` is left: the step, its batch, loss, norm and
    rates of each rank, which with the config and the newest checkpoint are the step itself.
    """

    def __init__(
        self,
        name: str,
        parameters: list[nn.Parameter],
        clip: float | None,
        folder: Path | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.name, self.parameters, self.clip = name, parameters, clip
        self.folder, self.ranks = folder, ranks or Alone()
        self.batch: Any = {}
        self.scale: float | None = None  # of the loss, where it is scaled
        self.in_a_row = self.skipped = 0
        self.is_skipped = False  # the last step

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """CondiffError where what asks for a gradient, what is stepped and what is clipped differ."""
        stepped = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
        clipped = {id(p) for p in self.parameters}
        asking = {id(p) for p in pl_module.parameters() if p.requires_grad}
        if not stepped == clipped == asking:
            raise CondiffError(
                f"{self.name}: {len(asking)} tensors ask for a gradient, the optimizer steps {len(stepped)}"
                f" and {len(clipped)} are clipped, of {len(asking | stepped | clipped)} in all; they must be"
                " the same, or another part than asked for would be trained"
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, _: int) -> None:
        self.batch = batch

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        self.is_skipped = False
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None:
            self.scale = scaler.get_scale()
            _unscale(scaler, optimizer)
        limit = float("inf") if self.clip is None else self.clip
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        self.norm = whole(nn.utils.get_total_norm(gradients, foreach=True))
        nn.utils.clip_grads_with_norm_(self.parameters, limit, self.norm, foreach=True)
        loss = getattr(pl_module, "scalars", {}).get("loss", self.norm)
        if bool(torch.isfinite(self.norm) & torch.isfinite(loss.detach()).all()):
            self.in_a_row = 0
            return
        self.in_a_row, self.skipped = self.in_a_row + 1, self.skipped + 1
        if scaler is None or self.in_a_row > SKIPS or not torch.isfinite(loss.detach()).all():
            self._stop(trainer, loss)
        self.is_skipped = True

    @staticmethod
    def skipped_one(trainer: Trainer) -> bool:
        """Whether the last step of a training left the weights as they were."""
        return any(isinstance(own, FiniteSteps) and own.is_skipped for own in trainer.callbacks)  # pyright: ignore[reportAttributeAccessIssue]

    def row(self) -> dict[str, float]:
        """What there is to log of scaled losses."""
        return {} if self.scale is None else {"loss_scale": self.scale, "skipped_steps": float(self.skipped)}

    def state_dict(self) -> dict[str, Any]:
        return {"in_a_row": self.in_a_row, "skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.in_a_row, self.skipped = state_dict["in_a_row"], state_dict["skipped"]

    def _stop(self, trainer: Trainer, loss: Tensor) -> None:
        step, norm = trainer.global_step, float(self.norm)
        found = {
            "step": step,
            "keys": [str(key) for key in _entry(self.batch, "key")],
            "places": [int(place) for place in _entry(self.batch, "place")],
            "loss": str(float(loss.detach().mean())),  # JSON has no word for nan
            "grad_norm": str(norm),
            "lr": [group["lr"] for group in trainer.optimizers[0].param_groups],
            "loss_scale": self.scale,
        }
        where = ""
        if self.folder is not None:
            path = self.folder / DIVERGED / f"step={step:08d}_rank={self.ranks.index}.json"
            path.parent.mkdir(exist_ok=True)
            write_json(path, found)
            where = f"; {path} has its batch"
        place = settings_of(self.name)
        of = "loss" if math.isfinite(norm) else "gradient"
        what = f"the {of} at step {step} is {found['loss'] if of == 'loss' else norm}"
        again = f", {self.in_a_row} steps in a row" if self.scale is not None else ""
        advice = "" if self.clip else f" or clip its norm ({place}.clip=1.0)"
        raise DivergedError(
            f"{self.name}: {what}{again}; lower the learning rate of its optimizer{advice}{where}"
        )


def _unscale(scaler: GradScaler, optimizer: Optimizer) -> None:
    """A fused optimizer would do it in its step, after the clipping; others have had it done by Lightning."""
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        scaler.unscale_(optimizer)


def _entry(batch: Any, name: str) -> Any:
    return batch.get(name, ()) if isinstance(batch, Mapping) else ()
