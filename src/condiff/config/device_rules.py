"""What several devices ask of a config."""

import os
import shutil
from collections.abc import Iterator

from condiff.config.nodes import Config, argument, at, words

_TRAINED = ("denoiser", "judge", "autoencoder", "weaker", "classifier", "adapter")


def compiling_has_a_compiler(cfg: Config) -> Iterator[str]:
    """torch.compile writes C++, on a GPU, too."""
    if any(map(shutil.which, filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++", "cl")))):
        return
    for path in _trainers(cfg):
        if argument(at(cfg, *path.split(".")), "compile") not in (None, "none"):
            yield f"{path}.compile: needs a C++ compiler, and none was found; install g++, or leave it out"


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


def _trainers(cfg: Config) -> list[str]:
    """Where the settings of each training of the study are."""
    stages = words(cfg.get("stages"))
    return ["trainer" if stage == "denoiser" else f"{stage}.trainer" for stage in _TRAINED if stage in stages]
