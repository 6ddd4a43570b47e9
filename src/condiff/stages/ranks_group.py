"""A process among those that share a stage: what it exchanges with the others.

Everything goes through gloo and the CPU, gradients on a GPU apart, which go through nccl.
"""

import importlib
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed import FileStore, ReduceOp  # pyright: ignore[reportPrivateImportUsage]
from torch.nn.parallel import DistributedDataParallel

from condiff.errors import ConfigError
from condiff.stages.beats import BEAT, OWN, PAUSE, SAVE, STEP
from condiff.stages.ranks import share_of

if TYPE_CHECKING:  # lightning takes seconds, and not every stage trains
    from condiff.diffusion.randomness import Draws
    from condiff.methods.method import Method

T = TypeVar("T")
NEVER = timedelta(days=30)  # who hangs is found by the process that started the ranks and sees them all
MEETING = "meeting"  # file that the ranks meet by
STRATEGIES = {"ddp": f"{__name__}:Rank", "fsdp": "condiff.stages.ranks_divided:DividedRank"}


@contextmanager
def joined(index: int, count: int, folder: Path, on_gpu: bool, strategy: str) -> Iterator["Rank"]:
    """Meet the others in a folder: no port is needed, so any number of studies may run at once."""
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    store = FileStore(str(folder / MEETING), count)
    distributed.init_process_group(backend, store=store, rank=index, world_size=count, timeout=NEVER)
    if on_gpu:
        found: list[Any] = [None] * count
        distributed.all_gather_object(found, _gpu())
        each_has_its_own(found)
    module, _, name = STRATEGIES[strategy].partition(":")
    yield getattr(importlib.import_module(module), name)(index, count, folder, "cuda" if on_gpu else "cpu")
    distributed.destroy_process_group()  # not after an error, when the others may be gone


def each_has_its_own(gpus: Sequence[str]) -> None:
    """ConfigError where two ranks have one GPU, which nccl refuses: a launcher has started too many."""
    for index, gpu in enumerate(gpus):
        if gpu in gpus[:index]:
            raise ConfigError(
                f"runtime.devices: ranks {gpus.index(gpu)} and {index} of {len(gpus)} have the same GPU,"
                f" {gpu}; start no more processes on a machine than it has, or use runtime.accelerator=cpu"
            )


class Rank:
    """One of ``count`` processes; see ``condiff.callbacks.ranks`` for what each method gives."""

    def __init__(self, index: int, count: int, folder: Path, device: str) -> None:
        self.index, self.count, self.leads, self.device = index, count, index == 0, device
        self.part = 1 / count  # of the global batch
        self.num_beats, self.beat = 0, folder / f"{BEAT}{index}"

    def share(self, total: int) -> range:
        return share_of(self.index, self.count, total)

    def divided(self, network: nn.Module, key: str) -> nn.Module:
        return network

    def spread(self, method: "Method") -> None:
        self.take_part(method)
        shared = DistributedDataParallel(_Loss(method), find_unused_parameters=method.leaves_some)
        method.part_loss, method.unsynced = shared.__call__, shared.no_sync

    def take_part(self, method: "Method") -> None:
        """Let a method compute losses and statistics of the global batch; its gradients are of this part."""
        size = method.training_settings.batch_size
        self.part = len(self.share(size)) / size
        method.part_weight = self.part * self.count  # gradients of ranks are averaged with equal weights
        method.parts = self
        with_global_statistics(method)

    def whole(self, value: Tensor) -> Tensor:
        return _summed(self.part * value)

    def summed(self, value: Tensor) -> Tensor:
        return _summed(value)

    def joined(self, rows: Tensor) -> Tensor:
        found: list[Any] = [None] * self.count
        distributed.all_gather_object(found, rows.cpu())
        return torch.cat(found).to(rows)

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        sums = _reduced([self.part * value for value in values.values()], ReduceOp.SUM)
        return dict(zip(values, sums, strict=True))

    def total(self, *values: float) -> list[float]:
        return _reduced(list(values), ReduceOp.SUM)

    def largest(self, *values: float) -> list[float]:
        found = _reduced(list(values), ReduceOp.MAX)
        self.alive()
        return found

    def first(self, make: Callable[[], T]) -> T:
        self.pause()
        made: list[Any] = [make() if self.leads else None]
        distributed.broadcast_object_list(made, src=0, device=torch.device("cpu"))
        return made[0]

    def of_first(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = {
            name: value.detach().clone(memory_format=torch.contiguous_format)
            for name, value in tensors.items()
        }
        for value in found.values():
            distributed.broadcast(value, 0)
        return found

    def gathered(self, part: Tensor, total: int) -> Tensor:
        self.pause()  # others may be slower
        if not self.leads:
            if len(part):
                distributed.send(part.contiguous(), 0)
            return part
        parts = [part]
        for other in range(1, self.count):
            num = len(share_of(other, self.count, total))
            if num:  # with more ranks than rows some have none
                parts.append(part.new_empty(num, *part.shape[1:]))
                distributed.recv(parts[-1], other)
        return torch.cat(parts)

    def alive(self) -> None:
        self._beat(STEP)

    def own_step(self) -> None:
        self._beat(OWN)

    def pause(self) -> None:
        self._beat(PAUSE)

    def saving(self) -> None:
        self._beat(SAVE)

    def _beat(self, at: str) -> None:
        self.num_beats += 1
        self.beat.write_text(f"{self.num_beats} {at}")


def with_global_statistics(network: nn.Module) -> None:
    """Let batch normalization see global batches: torch's own SyncBatchNorm knows no CPU."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            setattr(module, "forward", partial(_normalised, module))  # noqa: B010


def _gpu() -> str:
    """The one that this process uses, by a name that no other has, and its machine."""
    if not torch.cuda.is_available():
        raise ConfigError(
            f"runtime.devices: a rank on {platform.node()} sees no GPU, and the first one does; give each"
            " process one, or use runtime.accelerator=cpu"
        )
    return f"{torch.cuda.get_device_properties(0).uuid} of {platform.node()}"


class _Loss(nn.Module):
    """The loss of a method as a module's output: what DistributedDataParallel can stand around."""

    def __init__(self, method: "Method") -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Mapping[str, Any], draws: "Draws") -> dict[str, Tensor]:
        return self.method.loss(batch, draws)


def _normalised(norm: nn.modules.batchnorm._BatchNorm, x: Tensor) -> Tensor:
    """x, [B, C, ...], less the mean and over the standard deviation of the global batch."""
    if not norm.training:
        return type(norm).forward(norm, x)
    others = [0, *range(2, x.ndim)]
    count = x.numel() / x.shape[1]
    sums = _Sum.apply(torch.cat([x.float().sum(others), x.new_tensor([count], dtype=torch.float32)]))
    mean, total = sums[:-1] / sums[-1], sums[-1].detach()
    centred = (x.float().transpose(1, -1) - mean).transpose(1, -1)
    variance = _Sum.apply(centred.square().sum(others)) / total
    scaled = centred.transpose(1, -1) * torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        scaled = scaled * norm.weight + norm.bias
    if norm.running_mean is not None and norm.running_var is not None:
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        momentum = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
        with torch.no_grad():
            norm.running_mean.lerp_(mean, momentum)
            norm.running_var.lerp_(variance * total / (total - 1), momentum)
    return scaled.transpose(1, -1).to(x.dtype)


class _Sum(torch.autograd.Function):
    """A sum over ranks. Every rank's loss depends on it, so its gradient is a sum over ranks as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _summed(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(x: Tensor) -> Tensor:
    x = x.detach().clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(x)
    return x


def _reduced(values: list[float], how: Any) -> list[float]:
    """Of the same number of values on every rank, each over all ranks."""
    tensor = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(tensor, how)
    return tensor.tolist()
