"""Stages: the cached steps of a study, planned without importing what they run with."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from condiff.callbacks.ranks import Alone, Ranks
from condiff.files import digest
from condiff.interrupts import Interrupts
from condiff.stages.attention import attending
from condiff.stages.failures import Failures
from condiff.stages.fetching import fetching
from condiff.stages.fingerprint import fingerprint, targets

Config = Mapping[str, Any]
CHECKPOINTS = "checkpoints"  # folder of an unfinished training, gone once it is finished
KEPT = 2  # models of a kind that a process keeps loaded, for the next job of a sweep
LOG = "log.jsonl"  # what a training logged, one object a logged step
MODEL = "model.json"  # of what a trained network consists
STEPS = "steps"  # folder of the weights that it kept on the way, a file a step
PICTURES = "pictures"  # folder of what it showed, a file a step
PER_SAMPLE = "per_sample.safetensors"  # of the metrics: what each sample gives to a mean over samples
ASKED = "asked"  # its entry with a hash of what the samples were to show
BESIDE = "hints.png"  # of this folder: the hints of what was drawn, if it had some
CAPTION = "caption.json"  # what these are, in words


# Of a Runtime, plain values that each rank of a stage is told as they are.
HANDED = (
    "accelerator",
    "attention",
    "num_workers",
    "sample_batch",
    "sample_compile",
    "checkpoint_seconds",
    "fetch",
)
_FETCH = "fetch"  # argument of a source
# As before there were such keys: artifacts of then are found.
_UNASKED = ("class_text", None), ("sample_precision", "32-true")
_BASE = "base_"  # in front of the name of a stage that makes for the base of an adapter what that one makes
MADE = ("samples", "reconstructions")  # stages whose pictures are measured and shown, whichever a study has
PICTURES_MADE = "samples.safetensors"  # of theirs: ``image``, and what was asked for


@dataclass(frozen=True)
class Artifact:
    """A finished stage: its key, and the folder with what it made. Its key says all that it is."""

    key: str
    path: Path
    manifest: Config = field(repr=False, compare=False)


@dataclass(frozen=True)
class Runtime:
    """Where and on what a stage runs. Nothing in it changes what the stage makes."""

    accelerator: str = "auto"  # auto, cpu or gpu
    attention: str = "auto"  # torch's implementation of it
    devices: int = 1  # processes that share a stage, each on a device of its own
    strategy: str = "ddp"  # what each of them holds of a network that is trained: ddp all of it, fsdp a part
    rank_timeout: float = 120.0  # seconds that a step of theirs may take
    rank_pause: float = 600.0  # seconds that they may take between two signs of life where there are no steps
    num_workers: int = 0
    sample_batch: int = 250  # samples at a time; which ones go together changes none of them
    sample_compile: str = "none"  # of a denoiser that draws: whole, or blocks
    checkpoint_seconds: float = 30.0
    began: Callable[[str, dict[str, Any]], None] = lambda *_: None  # a training: stage, what its model is
    log: Callable[[str, int, dict[str, float]], None] = lambda *_: None  # stage, step, scalars
    shown: Callable[[str, int, Path], None] = lambda *_: None  # stage, step, a picture's file for now
    ended: Callable[[str], None] = lambda *_: None  # stage
    interrupts: Interrupts = field(default_factory=Interrupts)
    statistics: Path | None = None  # a folder for moments of real pictures, to be found by later runs
    failures: Failures = field(default_factory=Failures)  # of a sweep's other jobs
    fetch: Any = None  # the config of how shards behind URLs come, where there are such
    watch: Any = None  # a stages.watch.Watch, where a denoiser is to be measured while it trains
    pictures: Any = None  # a stages.watch.Pictures, where what trains is to be seen
    ranks: Ranks = field(default_factory=Alone)  # this process among those that share the stage


@dataclass(frozen=True)
class Stage:
    """A step of a study. Its work is given only the config it ``reads``, and is hashed by it.

    ``work`` is "module:function", a function of (cfg, inputs, runtime, out) that makes the artifact in
    the folder ``out``; the module is imported when the stage runs. ``source`` names a function of
    (cfg, cache folder) that hashes what comes from outside, such as a folder of pictures.
    """

    name: str
    work: str
    needs: tuple[str, ...] = ()  # stages whose artifacts it is given
    takes: tuple[str, ...] = ()  # stages whose artifacts it is given if the study has them
    of_base: tuple[
        str, ...
    ] = ()  # of its inputs those that it is given of the base's, where a study has both
    reads: tuple[str, ...] = ()  # config keys, or keys of a group that is not all read: adapter.scale
    source: str | None = None
    is_shared: bool = False  # whether its work can be shared by several devices

    def of_base_data(self) -> "Stage":
        """The stage that makes of the base's data, where a study has both, what this one makes of its own."""
        return replace(self, name=f"{_BASE}{self.name}", of_base=("data",))

    def seen(self, cfg: Config) -> dict[str, Any]:
        """Its part of the config: an undeclared read is a KeyError."""
        found = {key: cfg[key] for key in self.reads if "." not in key}
        for group, _, key in (key.partition(".") for key in self.reads if "." in key):
            if cfg[group] is not None:
                found.setdefault(group, {})[key] = cfg[group][key]
        return found

    def inputs(self, present: Mapping[str, Any]) -> dict[str, Any]:
        """Its part of what the stages before it left; KeyError on a missing need."""
        names = (*self.needs, *(n for n in self.takes if n in present))
        return {name: present[self._place(name, present)] for name in names}

    def identity(self, cfg: Config, recipes: Mapping[str, str], outside: str | None) -> dict[str, Any]:
        """What it makes, the code apart: two artifacts with one identity differ in code only."""
        config = _hashed(self.seen(cfg))
        return {"stage": self.name, "config": config, "inputs": dict(recipes), "source": outside}

    def code(self, cfg: Config) -> str:
        """The code it can reach, and the libraries that do the arithmetic."""
        return digest([fingerprint(self.work.partition(":")[0], *targets(self.seen(cfg))), _libraries()])[:12]

    def _place(self, name: str, present: Mapping[str, Any]) -> str:
        own = f"{_BASE}{name}"
        return own if name in self.of_base and own in present else name

    def outside(self, cfg: Config, cache: Path) -> str | None:
        return None if self.source is None else load(self.source)(cfg, cache)

    def run(self, cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
        """Make it in ``out``, here or on as many devices as there are for it."""
        if self.is_shared and runtime.devices > 1:
            load("condiff.stages.ranks:run")(self, cfg, inputs, runtime, out)
        else:
            with attending(runtime.attention, runtime.accelerator), fetching(runtime.fetch):
                load(self.work)(self.seen(cfg), inputs, runtime, out)


def key(recipe: str, code: str, inputs: Mapping[str, str]) -> str:
    """The name of an artifact: what it is, by which code, from which artifacts."""
    return digest([recipe, code, dict(inputs)])[:12]


def _hashed(node: Any) -> Any:
    """A config without what changes nothing: how data are fetched, and what is not asked for."""
    if not isinstance(node, Mapping):
        return node
    kept = [(name, value) for name, value in node.items() if name != _FETCH and (name, value) not in _UNASKED]
    return {name: _hashed(value) for name, value in kept}


@cache
def _libraries() -> dict[str, str]:
    """The versions of those that do the arithmetic, to the second number."""
    return {name: ".".join(version(name).split(".")[:2]) for name in ("torch", "diffusers")}


def load(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)
