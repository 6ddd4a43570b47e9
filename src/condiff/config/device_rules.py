"""What several devices ask of a config."""

import os
import shutil
from collections.abc import Iterable, Iterator
from importlib.util import find_spec

from condiff.callbacks.trainings import DIVIDED, settings_of
from condiff.config.nodes import Config, argument, at, attribute, class_of, words

_TRAINED = ("denoiser", "judge", "autoencoder", "weaker", "classifier", "adapter")


def compiling_has_a_compiler(cfg: Config) -> Iterator[str]:
    """torch.compile writes C++, on a GPU, too."""
    if any(map(shutil.which, filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++", "cl")))):
        return
    found = {f"{path}.compile": argument(at(cfg, *path.split(".")), "compile") for path in _trainers(cfg)}
    found["runtime.sample_compile"] = argument(at(cfg, "runtime"), "sample_compile")
    for path, how in found.items():
        if how not in (None, "none"):
            yield f"{path}: needs a C++ compiler, and none was found; install g++, or leave it out"


def precision_is_of_samples(cfg: Config) -> Iterator[str]:
    """How a denoiser draws is for a study where one does."""
    given = cfg.get("sample_precision", "32-true")
    if given != "32-true" and not {"samples", "prior"} & {*words(cfg.get("stages"))}:
        yield f"sample_precision: has no effect here, where nothing is drawn; leave it out, got {given}"


def batches_have_parts(cfg: Config) -> Iterator[str]:
    """A batch that is taken in parts has a picture in each."""
    for path in _trainers(cfg):
        settings = at(cfg, *path.split("."))
        parts, size = argument(settings, "accumulate"), argument(settings, "batch_size")
        if type(parts) is type(size) is int and parts > size >= 1:
            yield f"{path}.accumulate: must be at most {path}.batch_size={size}, got {parts}"


def devices_have_work(cfg: Config) -> Iterator[str]:
    """Each of the devices takes a part of every batch, and of the samples."""
    devices, stages = argument(at(cfg, "runtime"), "devices"), words(cfg.get("stages"))
    if type(devices) is not int or devices == 1:
        return
    for path in _trainers(cfg):
        given = argument(at(cfg, *path.split(".")), "batch_size")
        if type(given) is int and given < devices:
            yield f"{path}.batch_size: must be at least runtime.devices={devices}, got {given}"
    given = cfg.get("num_samples")
    if "samples" in stages and type(given) is int and given < devices:
        yield f"num_samples: must be at least runtime.devices={devices}, got {given}"
    if not {*_TRAINED, "samples"} & {*stages}:
        yield (
            f"runtime.devices: {devices} have no effect here, where nothing is trained or drawn; leave it out"
        )


def parts_can_be_held(cfg: Config) -> Iterator[str]:
    """Under ``fsdp`` devices hold parts of a denoiser, or of what adapts one, while it trains."""
    place = at(cfg, "runtime")
    if argument(place, "strategy") != "fsdp":
        return
    if argument(place, "devices") == 1:
        yield "runtime.strategy: fsdp has no effect on one device; use more, runtime.devices=2, or ddp"
    if not {*DIVIDED} & {*words(cfg.get("stages"))}:
        yield "runtime.strategy: fsdp has no effect here, where no denoiser is trained; use ddp"
    for path in _trainers(cfg, DIVIDED):
        settings = at(cfg, *path.split("."))
        if argument(settings, "precision") == "16-mixed":
            yield f"{path}.precision: 16-mixed does not go with runtime.strategy=fsdp; use bf16-mixed"
        if argument(settings, "compile") not in (None, "none"):
            yield f"{path}.compile: must be none with runtime.strategy=fsdp; use none or ddp"
        optimizer = _optimizer_of(path)
        if attribute(at(cfg, *optimizer.split(".")), "takes_parts") is False:
            yield f"{optimizer}: does not take the parts that runtime.strategy=fsdp gives; use adamw"
    if at(cfg, "adapter", "text"):
        yield "runtime.strategy: fsdp does not divide encoders of text, adapter.text; use null or ddp"


def other_libraries_are_installed(cfg: Config) -> Iterator[str]:
    """An optimizer or an adapter of another library is told of before anything is made."""
    for path in dict.fromkeys(map(_optimizer_of, _trainers(cfg))):
        node = at(cfg, *path.split("."))
        package = attribute(node, "package")
        if package and find_spec(package) is None:
            bring = f"needs the package {package}; pip install 'condiff[eight_bit]'"
            yield f"{path}: {class_of(node)} {bring}, or use condiff.methods.optimizers.AdamW"
    tuning = at(cfg, "adapter", "tuning")
    package = attribute(tuning, "package") if "adapter" in words(cfg.get("stages")) else None
    if package and find_spec(package) is None:
        yield f"adapter.tuning: {class_of(tuning)} needs the package {package}; pip install 'condiff[lora]'"


def _optimizer_of(path: str) -> str:
    """Where the optimizer of a training is whose settings stand at a path."""
    return f"{path.removesuffix('trainer')}optimizer".replace("weaker.", "")


def _trainers(cfg: Config, trained: Iterable[str] = _TRAINED) -> list[str]:
    """Where the settings of each training of the study are."""
    stages = words(cfg.get("stages"))
    return [settings_of(stage) for stage in trained if stage in stages]
