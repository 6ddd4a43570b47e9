"""One training, whatever the method: Lightning with keyed draws, exact resume and little overhead."""

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from condiff.callbacks.checkpoint import Checkpoints, SafetensorsIO, newest
from condiff.callbacks.ema import Ema
from condiff.callbacks.ranks import Ranks
from condiff.callbacks.steps import FiniteSteps, Progress
from condiff.callbacks.watch import MetricsWhileTraining
from condiff.data.batches import Batches, loader
from condiff.data.dataset import ShardDataset
from condiff.diffusion.randomness import step_seed
from condiff.errors import ArtifactError
from condiff.files import written_whole
from condiff.methods.method import Method
from condiff.stages.stage import CHECKPOINTS, LOG, Runtime

log = logging.getLogger(__name__)


def fit(
    name: str,
    method: Method,
    data: ShardDataset,
    runtime: Runtime,
    out: Path,
    measure: Callable[[nn.Module], dict[str, float]] | None = None,
) -> None:
    """Train to the end, going on where an earlier attempt in ``out`` stopped.

    ``measure`` is asked about the averaged weights every ``runtime.watch.every`` steps.
    Leaves ``weights.safetensors``, with a moving average also ``ema.safetensors``, and ``log.jsonl``.
    """
    settings = method.training_settings
    ranks = runtime.ranks
    checkpoint = ranks.first(lambda: newest(out / CHECKPOINTS, log.warning))
    has_average = ranks.leads and settings.ema_decay is not None
    ema = Ema(method.trained, settings.ema_decay) if has_average else None
    start = 0 if checkpoint is None else int(checkpoint.stem.partition("=")[2])
    write = _Rows(name, out / LOG, start, runtime).add if ranks.leads else _nowhere
    watch: list[Callback] = []
    if ranks.leads and measure is not None:
        watch = [MetricsWhileTraining(method.trained, ema, runtime.watch.every, measure, write, ranks)]
    callbacks: list[Callback] = [
        _GlobalSeed(method.seed, ranks.index),
        _Spread(ranks),
        FiniteSteps(name, method.trainable(), settings.clip),
        *([] if ema is None else [ema]),
        Progress(name, settings.steps, settings.log_every, write, ranks),
        *watch,
        Checkpoints(out / CHECKPOINTS, runtime.checkpoint_seconds, runtime.interrupts, ranks),
    ]
    if settings.channels_last:
        method.trained.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    places = ranks.share(settings.batch_size)
    batches = Batches(len(data), settings.batch_size, method.seed, start, places)
    trainer = _trainer(method, runtime, callbacks)
    with warnings.catch_warnings(), runtime.interrupts.deferred():
        # Lightning advises more workers for sets held in memory, and an own sampler for many devices
        warnings.filterwarnings("ignore", module="lightning.*")
        trainer.fit(method, loader(data, batches, runtime.num_workers), ckpt_path=checkpoint)
    ranks.pause()
    if ranks.leads:
        save_weights(out / "weights.safetensors", dict(method.trained.state_dict()))
    if ema is not None:
        save_weights(out / "ema.safetensors", {**method.trained.state_dict(), **ema.weights()})


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    with written_whole(path) as temporary:
        save_file({name: value.cpu().contiguous() for name, value in weights.items()}, temporary)


def load_weights(module: nn.Module, folder: Path) -> None:
    """The averaged weights of a finished training if it kept an average, else its last ones; strictly."""
    path = folder / "ema.safetensors"
    path = path if path.is_file() else folder / "weights.safetensors"
    try:
        module.load_state_dict(load_file(path), strict=True)
    except (RuntimeError, OSError) as error:
        raise ArtifactError(f"{path}: does not fit the network it was saved for ({error})") from error


def _trainer(method: Method, runtime: Runtime, callbacks: list[Callback]) -> Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    settings = method.training_settings
    return Trainer(
        max_steps=settings.steps,
        max_epochs=-1,
        accelerator=runtime.accelerator,
        devices=1,
        precision=settings.precision,
        callbacks=callbacks,
        plugins=[SafetensorsIO()],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
    )


class _GlobalSeed(Callback):
    """For dropout inside a network, which draws from torch's global generator: keyed by step and rank.

    A network draws for the part of the batch that it is given. So with dropout, and only with it, another
    number of devices is another training, as another seed would be; the same number repeats itself.
    """

    def __init__(self, seed: int, rank: int) -> None:
        self.seed, self.stream = seed, f"global {rank}" if rank else "global"

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        torch.manual_seed(step_seed(self.seed, trainer.global_step, self.stream))


class _Spread(Callback):
    """Ranks take up a training once it is on its device and as its checkpoint left it."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.ranks.spread(pl_module)


class _Rows:
    """log.jsonl of a stage: one object a logged step; what a resumed run repeats stands there once."""

    def __init__(self, name: str, path: Path, start: int, runtime: Runtime) -> None:
        self.name, self.path, self.runtime = name, path, runtime
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= start]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def add(self, step: int, values: dict[str, float]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": self.name, "step": step, **values}) + "\n")
        self.runtime.log(self.name, step, values)


def _nowhere(step: int, values: dict[str, float]) -> None:
    """Where a rank that does not lead writes its rows."""


def _lines(path: Path) -> list[str]:
    """Whole lines only: a kill may have cut the last one."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [line for line in text.split("\n")[:-1] if line]
