"""What samples are drawn from: a config as it was run, and where the artifacts are that it left."""

import json
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from condiff.config.hints import closest
from condiff.config.nodes import Config, at, words
from condiff.config.pipeline_files import Study
from condiff.config.pipelines import INDEX, study_of
from condiff.errors import ConfigError
from condiff.files import read_json
from condiff.hub import is_name

FROM, BASE = "from", "base"
# What a study says for each kind of base, a run or a pipeline by its class.
BY_BASE, RUN = "by_base", "run"
SCALE, CONTROL = "adapter.scale", "adapter.control"
# The choices of an adapter whose control is a guess.
GUESSES = {
    "controlnet_guess": "condiff.adapters.control.GuessOriginal",
    "controlnet_guess_diffusers": "condiff.adapters.control.GuessDiffusers",
}
NEGATIVE = "negative"  # of a guidance, and a word of the task by itself
CONFIG, STAGES, OVERRIDES, LEDGER = "config.yaml", "stages.json", "overrides.json", "sweep.json"
_SAMPLES, _DENOISER = "samples", "denoiser"
# What the task asks for by itself, or what no sample depends on: all else is as it was.
_OWN = frozenset(
    {
        *("name", "question", "stages", "num_samples", "text", "class_text", "label", "control", FROM, "n"),
        *(NEGATIVE, BASE, "base_data", "prior"),
        *("check", "recipe", "images", "reference", "runs", "judge", "metrics", "runtime", "logger"),
    }
)
# Of its stages those that samples are drawn with; a second model comes with the guidance that asks for it.
_TAKEN = ("data", "texts", "autoencoder", "latents", "base_latents", _DENOISER, "adapter")
_HEARD = (
    FROM,
    "text",
    "label",
    "control",
    NEGATIVE,
    "n",
    "seed",
    "guidance",
    "sampler",
    "checkpoint",
    "average",
    "sample_precision",
    "adapters",
    SCALE,
    CONTROL,
)
# Of a base, the parts of its config that say what it is, and its stages that an adapter's study takes.
_OF_BASE = ("conditioner", "process", "objective", "network", "method", "optimizer", "trainer", "autoencoder")
# Of pictures, which are as large as the base's where these are null.
_SIZES = ("data.size", "data.pictures.size")
TAKEN_OF_BASE = {"autoencoder": "autoencoder", "base_latents": "latents", _DENOISER: _DENOISER}
_BESIDE = ("task", "name", "question", "runtime", "logger")
NO_COUNT = "has no effect here, only with task=sample; leave it out, or use num_samples"
_OTHER_WORDS = {"num_samples": "n", f"guidance.{NEGATIVE}": NEGATIVE}  # what this task calls them


@dataclass(frozen=True)
class Origin:
    """Something trained, or given its weights, that samples are drawn from.

    What a run has made is taken, by the ``key`` and ``path`` of each artifact in ``stages``; ``again`` is the
    command that makes it again. Of a ``study`` that was never run nothing is there, and it trains nothing:
    its stages are made at once.
    """

    config: Mapping[str, Any]  # of a run, with every value that its denoiser was made with
    stages: Mapping[str, Mapping[str, Any]]
    again: str
    study: Study | None = None


def draws(cfg: Config) -> bool:
    """Whether this is the task that draws from something finished, which alone counts its pictures ``n``."""
    return cfg.get("n") is not None


def takes(cfg: Config) -> bool:
    """Whether what samples are drawn with is there already, made by the run that they are drawn from."""
    return draws(cfg) and origin_of(cfg[FROM]).study is None


def origin_of(given: str, key: str = FROM) -> Origin:
    """What ``from`` or ``base`` names; ConfigError in one line, under that key, where it is nothing trained.

    Another kind of thing to draw from is one more function in ``_KINDS``, which gives None of all others.
    """
    path = Path(given).expanduser()
    origin = next((found for kind in _KINDS if (found := kind(path, key)) is not None), None)
    if not given.strip() or origin is None:
        raise ConfigError(f"{key}: {_why_none(given, path, key)}")
    stages = words(origin.config.get("stages"))
    if origin.study is None and _DENOISER not in stages:
        raise ConfigError(
            f"{key}: {given} has no denoiser, only the stages {', '.join(stages)}; give a run that has one"
        )
    return origin


def continued(config: Config, chosen: Collection[str]) -> dict[str, Any]:
    """The keys of a config that draws from that one, but for the groups ``chosen`` on the command line."""
    kept = {key: value for key, value in config.items() if key not in {*_OWN, *chosen}}
    if "guidance" in kept:
        node = kept["guidance"] or {}
        kept["guidance"] = {**node, NEGATIVE: None}
        kept[NEGATIVE] = node.get(NEGATIVE)
    stages = words(config.get("stages"))
    return {**kept, "stages": [*(name for name in _TAKEN if name in stages), _SAMPLES]}


def adapting(config: Config) -> dict[str, Any]:
    """The keys of a config that adapts the denoiser of that one."""
    if "adapter" in words(config.get("stages")):
        raise ConfigError(
            f"{BASE}: is a run with an adapter of its own; give the run that its denoiser is of, without one"
        )
    return {**{key: config.get(key) for key in _OF_BASE}, "base_data": None}


def like_base(config: Config) -> dict[str, Any]:
    """What a study that adapts the denoiser of that one has of it where it says null."""
    size = at(config, "data").get("size")
    return {} if size is None else dict.fromkeys(_SIZES, size)


def stages_of_base(config: Config, is_run: bool) -> list[str]:
    """Those that a study has for its base; a run has latents in a space of its own."""
    own = words(config.get("stages"))
    more = ["base_latents"] if is_run and "latents" in own else []
    return [*(name for name in ("autoencoder", "latents") if name in own), *more]


def not_adapted(settings: Sequence[tuple[str, str]]) -> Iterator[str]:
    """A line for each setting, its key and how it was written, of what a finished base is."""
    for key, text in settings:
        if key.split(".")[0] in (*_OF_BASE, "base_data") or text.startswith("data@base_data"):
            yield f"{text}: has no effect with {BASE}=..., which is as it was trained; leave it out"


def in_words_of_a_study(cfg: Config) -> dict[str, Any]:
    """The config of the task with what a study calls ``num_samples`` and ``guidance.negative``."""
    found = {**cfg, "num_samples": cfg["n"]}
    if cfg[NEGATIVE] not in (None, "") and isinstance(cfg["guidance"], Mapping):
        found["guidance"] = {**cfg["guidance"], NEGATIVE: cfg[NEGATIVE]}
    return found


def in_words_of_the_task(line: str) -> str:
    """A mistake under the key that was given."""
    key, colon, said = line.partition(":")
    return f"{_OTHER_WORDS.get(key, key)}{colon}{said}"


def not_drawn_with(settings: Sequence[tuple[str, str]]) -> Iterator[str]:
    """A line for each setting, its key and how it was written, that changes nothing that is drawn."""
    for key, text in settings:
        if key == "adapter" and (target := GUESSES.get(text.partition("=")[2])) is not None:
            yield f"{text}: is written {CONTROL}._target_={target} with task=sample"
        elif key in _OTHER_WORDS:
            yield f"{text}: is written {_OTHER_WORDS[key]}=... with task=sample"
        elif not _is_below(key, (*_HEARD, *_BESIDE)) and not key.startswith("hydra"):
            yield (
                f"{text}: has no effect on task=sample, which trains nothing and reads {', '.join(_HEARD)};"
                f" leave it out{_meant(key)}"
            )


def _meant(key: str) -> str:
    """What is heard and is near to it, below the same part where it has one."""
    part, dot, _ = key.rpartition(".")
    beside = [one for one in _HEARD if one.rpartition(".")[0] == part]
    near = closest(key.removeprefix(f"{part}{dot}"), (one.rpartition(".")[2] for one in beside))
    return f"; did you mean {f'{part}{dot}{near}'!r}?" if near is not None else ""


def _is_below(key: str, heard: Collection[str]) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in heard)


def _finished_run(path: Path, key: str) -> Origin | None:
    files = path / CONFIG, path / STAGES
    if not all(file.is_file() for file in files):
        return None
    return _read(path, key, *(file.stat().st_mtime_ns for file in files))


@lru_cache(64)
def _read(path: Path, key: str, *_: int) -> Origin:
    """By the times of change, as every run of a sweep asks for it."""
    try:
        config = yaml.load((path / CONFIG).read_text(encoding="utf-8"), Loader=_LOADER)
        stages, overrides = read_json(path / STAGES), path / OVERRIDES
        said = read_json(overrides) if overrides.is_file() else []
        if not isinstance(config, dict) or not isinstance(stages, dict):
            raise ValueError("they are no mappings")
    except (OSError, ValueError, yaml.YAMLError) as error:
        why = str(error).splitlines()[0]
        raise ConfigError(f"{key}: {path} is no finished run, its files cannot be read ({why})") from error
    return Origin(config, stages, shlex.join(["python", "run.py", *map(str, said)]))


def _pipeline(path: Path, key: str) -> Origin | None:
    try:
        study = study_of(path)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error
    return None if study is None else Origin({}, {}, "", study)


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KINDS: tuple[Callable[[Path, str], Origin | None], ...] = (_finished_run, _pipeline)


def _why_none(given: str, path: Path, key: str) -> str:
    give = (
        "give the folder that a run of a study has left, with config.yaml and stages.json, or one of a Stable"
        f" Diffusion's pipeline (1, 2, XL or 3) of diffusers, with {INDEX}"
    )
    if not given.strip():
        return f"names nothing; {give}"
    if (path / LEDGER).is_file():
        done = [str(job) for job in _jobs(path) if (path / str(job) / STAGES).is_file()]
        one = path / done[0] if done else path / "0"
        return (
            f"{given} is no finished run, it is a sweep of {len(done)} finished ones; give one, {key}={one}"
        )
    if (path / CONFIG).is_file():
        return f"{given} is no finished run: it has no {STAGES}; give the command of that run again"
    no_run = f"{given} is no finished run"
    if path.is_file() and path.suffix == ".safetensors":
        return (
            f"{no_run}, it is a file of weights; draw from a Stable Diffusion 1 in one file with"
            f" experiment=stable_diffusion network=stable_diffusion_1 autoencoder.network.weights={given}"
            f" conditioner.encoder.path=CLIP conditioner.encoder.weights={given}, and with adapters=[{given}]"
            " from what it adapts"
        )
    if path.exists():
        return f"{no_run}; {give}"
    nor = f", nor such a pipeline in the hub's local cache (hf download {given})" if is_name(given) else ""
    return f"{no_run}: there is no such folder{nor}; {give}"


def _jobs(path: Path) -> range:
    try:
        return range(len(json.loads((path / LEDGER).read_text(encoding="utf-8"))["jobs"]))
    except (OSError, ValueError, KeyError, TypeError):
        return range(0)
