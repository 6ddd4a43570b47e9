"""One training, whatever the method: Lightning with keyed draws, exact resume and little overhead."""

import json
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from PIL.Image import Image
from torch import Tensor, nn

from condiff.averages import place
from condiff.callbacks.checkpoint import Checkpoints, SafetensorsIO, newest
from condiff.callbacks.clock import Clock
from condiff.callbacks.ema import Ema
from condiff.callbacks.finite import FiniteSteps
from condiff.callbacks.noise_levels import LossByNoise
from condiff.callbacks.power_averages import PowerAverages
from condiff.callbacks.ranks import Ranks
from condiff.callbacks.shares import Shares
from condiff.callbacks.steps import Progress
from condiff.callbacks.times import LearnedTimes
from condiff.callbacks.trainings import settings_of
from condiff.callbacks.watch import TogetherWhileTraining, WeightsOnTheWay, WhileTraining, as_saved
from condiff.data.batches import Batches, loader
from condiff.data.dataset import ShardDataset
from condiff.data.pairs import Pairs
from condiff.diffusion.randomness import step_seed
from condiff.divided import gathered
from condiff.files import write_json, written_whole
from condiff.methods.method import Method
from condiff.stages.compiled import COMPILE
from condiff.stages.obedience import rows_of, since
from condiff.stages.parameters import parameters_of
from condiff.stages.recomputed import recompute
from condiff.stages.same_gradients import SameGradients
from condiff.stages.stage import BESIDE, CAPTION, CHECKPOINTS, LOG, MODEL, PICTURES, Runtime
from condiff.stages.weights import kept_weights, save_weights

log = logging.getLogger(__name__)
FEW = 4  # pictures of a training
_SCALE = 2.0**16  # of a loss under 16-mixed to begin with, as torch has it
Seen = TypeVar("Seen")
Look = Callable[[nn.Module], Seen]


@dataclass(frozen=True)
class Drawing:
    """What is to be seen of a network while it trains: pictures of its averaged weights."""

    look: Look[Image]
    caption: str
    interval: int | None  # steps; None gives FEW
    beside: Image | None = None  # the hints that all of them are drawn with

    def every(self, steps: int) -> int:
        return self.interval or max(1, -(-steps // FEW))


def fit(
    name: str,
    method: Method,
    data: ShardDataset | Pairs,
    runtime: Runtime,
    out: Path,
    measure: Look[dict[str, float]] | None = None,
    drawing: Drawing | None = None,
    every: int | None = None,
) -> None:
    """Train to the end, going on where an earlier attempt in ``out`` stopped.

    The averaged weights are drawn from by the rank that leads, and measured by all ranks together, ``every``
    so many steps (``runtime.watch.every`` unless it is given) and at the end, and before the first step where
    it begins at a base; a last row has the step since which its hints are obeyed, if they are. Leaves
    ``weights.safetensors``, with a moving average also ``ema.safetensors``, ``log.jsonl``, ``model.json`` and
    what was drawn.
    """
    settings = method.training_settings
    ranks = runtime.ranks
    method.mirrors = data.is_mirrored
    checkpoint = ranks.first(lambda: newest(out / CHECKPOINTS, log.warning))
    plain = method.trained
    if method.can_be_divided:
        method.train_instead(ranks.divided(plain, settings_of(name)))
    averages = ranks.leads or method.trained is not plain  # or else the first rank has all of them
    ema = Ema(method.trained, settings.ema_decay) if averages and settings.ema_decay is not None else None
    start = 0 if checkpoint is None else int(checkpoint.stem.partition("=")[2])
    rows = _Rows(name, out / LOG, start, runtime) if ranks.leads else _NoRows()
    clock = Clock()
    if drawing is not None:
        rows.show_as(drawing.caption, drawing.beside)
    finite = FiniteSteps(name, method.trainable(), settings.clip, out, ranks)
    by_noise, shares = LossByNoise(ranks), Shares()
    looks: list[Callback] = [WeightsOnTheWay(method.trained, ema, settings.keep, ranks, partial(_kept, out))]
    seen = method.trained, ema
    if drawing is not None:
        often = drawing.every(settings.steps)
        looks.append(WhileTraining(*seen, often, drawing.look, rows.show, clock, ranks, plain))
    if measure is not None:
        often = every or runtime.watch.every
        first = method.begins_at_a_base
        looks.insert(0, TogetherWhileTraining(*seen, often, measure, rows.add, clock, ranks, plain, first))
    checkpoints = Checkpoints(out / CHECKPOINTS, runtime.checkpoint_seconds, runtime.interrupts, ranks)
    callbacks: list[Callback] = [
        *([] if settings.compile == "none" else [SameGradients(settings_of(name))]),
        _GlobalSeed(method.seed, ranks.index),
        _Spread(ranks),
        finite,
        *([] if ema is None else [ema]),
        *(_power_averages(method, ranks, out) if averages else []),
        by_noise,
        shares,
        LearnedTimes(ranks),
        Progress(name, settings, rows.add, clock, finite, by_noise, shares, ranks),
        *looks,
        checkpoints,
    ]
    if settings.recompute:
        recompute(name, method.trained)
    COMPILE[settings.compile](method.trained, f"{settings_of(name)}.compile")
    if settings.channels_last and method.trained is plain:  # parts lie one row after the other
        method.trained.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    places = ranks.share(settings.batch_size)
    batches = Batches(data.sizes, settings.batch_size, method.seed, start, places, data.orders)
    trainer = _trainer(method, runtime, callbacks)
    method.scaled = _scaling(trainer)
    if ranks.leads:
        write_json(out / MODEL, parameters_of(method.trained))
        runtime.began(name, parameters_of(method.trained))
    with warnings.catch_warnings(), runtime.interrupts.deferred():
        # Lightning advises more workers for sets held in memory, and an own sampler for many devices
        warnings.filterwarnings("ignore", module="lightning.*")
        stop = partial(checkpoints.stop_if_asked, trainer)
        loaded = loader(data, batches, runtime.num_workers, stop, ranks.alive)
        trainer.fit(method, loaded, ckpt_path=checkpoint)
    _leave(method, ema, out, ranks)
    if ranks.leads:
        if obeyed := since(rows_of(out / LOG)):
            rows.add(settings.steps, obeyed)
        runtime.ended(name)


def _leave(method: Method, ema: Ema | None, out: Path, ranks: Ranks) -> None:
    ranks.saving()
    left = {"weights": as_saved(method.trained, None)}
    if ema is not None:
        left["ema"] = as_saved(method.trained, ema)
    for name, state in left.items():
        weights = gathered(method.saved(state))
        if ranks.leads:
            save_weights(out / f"{name}.safetensors", weights)
    ranks.pause()


def _power_averages(method: Method, ranks: Ranks, out: Path) -> list[PowerAverages]:
    """Which leave theirs where ``condiff.averages`` finds it."""
    settings = method.training_settings
    if not settings.averages:
        return []

    def keep(step: int, length: float, weights: dict[str, Tensor]) -> None:
        ranks.saving()
        path = place(out, step, length)
        if ranks.leads:
            path.parent.mkdir(exist_ok=True)
            save_weights(path, weights)

    return [PowerAverages(method.trained, settings.averages, settings.snapshots, settings.steps, keep)]


def _kept(out: Path, step: int, weights: dict[str, Tensor]) -> None:
    path = kept_weights(out, step)
    path.parent.mkdir(exist_ok=True)
    save_weights(path, weights)


def _trainer(method: Method, runtime: Runtime, callbacks: list[Callback]) -> Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    settings = method.training_settings
    return Trainer(
        max_steps=settings.steps,
        max_epochs=-1,
        accelerator=runtime.accelerator,
        devices=1,
        callbacks=callbacks,
        plugins=[
            SafetensorsIO(runtime.ranks),
            stepping(settings.precision, runtime.accelerator, runtime.ranks.count),
        ],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
    )


def stepping(precision: str, accelerator: str, count: int = 1) -> Precision:
    """How a step is taken: on a CPU, too, as asked for, where Lightning would choose.

    Of ``count`` processes the gradients are averaged, so that of a sample each has ``count`` times what one
    process has. Its loss is scaled by as much less, and no more of float16 overflows.
    """
    if precision == "32-true":
        return Precision()
    device = "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    scaler = torch.amp.GradScaler(device, init_scale=_SCALE / count) if precision == "16-mixed" else None
    return MixedPrecision(precision, device, scaler)  # pyright: ignore[reportArgumentType]


def _scaling(trainer: Trainer) -> Callable[[Tensor], Tensor]:
    """What a loss is multiplied by before its way back: one that the trainer is not handed, too."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return Tensor.clone if scaler is None else scaler.scale


class _GlobalSeed(Callback):
    """For dropout inside a network, which draws from torch's global generator: keyed by step and rank.

    A network draws for the part of the batch that it is given. So with dropout, and only with it, another
    number of devices is another training, as another seed would be; the same number repeats itself.
    """

    def __init__(self, seed: int, rank: int) -> None:
        self.seed, self.stream = seed, f"global {rank}" if rank else "global"

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        seed = step_seed(self.seed, trainer.global_step, self.stream)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed looks for all kinds of devices
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed(seed)


class _Spread(Callback):
    """Ranks take up a training once it is on its device and as its checkpoint left it."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.ranks.spread(pl_module)
        self.ranks.pause()  # a first step may compile


class _Rows:
    """log.jsonl of a stage: one object a logged step; what a resumed run repeats stands there once.

    Pictures lie beside it, named by their step.
    """

    def __init__(self, name: str, path: Path, start: int, runtime: Runtime) -> None:
        self.name, self.path, self.runtime = name, path, runtime
        self.pictures = path.with_name(PICTURES)
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= start] if start else []
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def add(self, step: int, values: dict[str, float]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": self.name, "step": step, **values}) + "\n")
        self.runtime.log(self.name, step, values)

    def show_as(self, caption: str, beside: Image | None) -> None:
        self.pictures.mkdir(exist_ok=True)
        write_json(self.pictures / CAPTION, caption)
        if beside is not None:
            self._write(self.pictures / BESIDE, beside)

    def show(self, step: int, picture: Image) -> None:
        path = self.pictures / f"step={step:08d}.png"
        self._write(path, picture)
        self.runtime.shown(self.name, step, path)

    def _write(self, path: Path, picture: Image) -> None:
        with written_whole(path) as temporary:
            picture.save(temporary, format="PNG")


class _NoRows:
    """Of a rank that does not lead."""

    def add(self, step: int, values: dict[str, float]) -> None: ...

    def show_as(self, caption: str, beside: Image | None) -> None: ...

    def show(self, step: int, picture: Image) -> None: ...


def _lines(path: Path) -> list[str]:
    """Whole lines only: a kill may have cut the last one."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [line for line in text.split("\n")[:-1] if line]
