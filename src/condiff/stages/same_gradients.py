"""Gradients of a compiled network are held to those of the network as it is, before they are learned from.

Compilers err in silence: that of torch 2.13 gives some small U-Nets no gradient behind their first halving
on a CPU.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from condiff.errors import EnvironmentFault
from condiff.methods.method import Method
from condiff.stages.compiled import plain

_LARGE, _FAR = 0.01, 0.25  # of the norm of all gradients; of a tensor's own: bfloat16 stays below both
_STIRRED = 0.02  # deviation of what weights of 0 are for a look, as no gradient passes these


class SameGradients(Callback):
    """Once, on the first batch of a training, whose settings stand in the config under ``key``.

    EnvironmentFault names a weight whose gradient is another.
    """

    def __init__(self, key: str) -> None:
        self.key, self.looked = key, False

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Method)
        if self.looked:
            return
        self.looked = True
        with _stirred(pl_module):
            found = _gradients(trainer, pl_module, batch)
            with plain(pl_module.trained):
                wanted = _gradients(trainer, pl_module, batch)
        names = {id(weight): name for name, weight in pl_module.named_parameters()}
        names |= {id(weight): name for name, weight in pl_module.trained.named_parameters()}
        weights = pl_module.trainable()
        if wrong := [names[id(weights[place])] for place in differing(found, wanted)]:
            more = f" and {len(wrong) - 1} more weights" if len(wrong) > 1 else ""
            raise EnvironmentFault(
                f"{self.key}.compile: torch {torch.__version__} compiles other gradients than the network"
                f" has, of {wrong[0]}{more}; use none"
            )


def differing(found: Sequence[Tensor | None], wanted: Sequence[Tensor | None]) -> list[int]:
    """The places of gradients that are far from what they should be, and not next to nothing."""
    pairs = [(own, right) for own, right in zip(found, wanted, strict=True)]
    zero = torch.zeros(())
    whole = sum((right.float().square().sum() for _, right in pairs if right is not None), zero) ** 0.5
    return [
        place
        for place, (own, right) in enumerate(pairs)
        if right is not None
        and right.norm() > _LARGE * whole
        and (own is None or (own - right).norm() > _FAR * right.norm())
    ]


@contextmanager
def _stirred(method: Method) -> Iterator[None]:
    """Weights of 0 are others meanwhile."""
    still = [weight for weight in method.trainable() if not bool(weight.any())]
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in still:
            weight.copy_(_STIRRED * torch.randn(weight.shape, generator=rng))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight in still:
                weight.zero_()


def _gradients(trainer: Trainer, method: Method, batch: Any) -> Sequence[Tensor | None]:
    """Of the first part of a batch; nothing is left of it."""
    kept = {name: value.clone() for name, value in method.trained.named_buffers()}
    devices = [method.device] if method.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(0)  # for dropout, which is to be the same for both
        with trainer.precision_plugin.train_step_context():
            loss = method.tried(batch)
        found = torch.autograd.grad(loss, method.trainable(), allow_unused=True)
    for name, value in method.trained.named_buffers():
        value.copy_(kept[name])
    return found
