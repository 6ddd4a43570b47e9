"""A denoiser together with adapters, at any scales; no peft."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from torch import Tensor, nn

from condiff.adapters.control_files import is_control
from condiff.adapters.control_files import read as read_control
from condiff.adapters.controlnet import encoder_of
from condiff.adapters.formats import load
from condiff.adapters.low_rank import added, base_of
from condiff.adapters.tuning import merged
from condiff.data.source import DataInfo
from condiff.errors import ArtifactError
from condiff.stages.denoiser import Trained, load_denoiser
from condiff.stages.finished_adapters import ADAPTER, FILE, finished
from condiff.stages.stage import KEPT, Artifact, Config
from condiff.stages.tunings import built_control, built_tuning, controlled

Changes = dict[str, Tensor]  # what is added to each parameter of a denoiser's network


@contextmanager
def adapted(cfg: Config, inputs: Mapping[str, Artifact], trained: Trained) -> Iterator[Trained]:
    """The denoiser with the study's adapter, if it has one, and with those it names; after it as it was.

    At scale 0 a ControlNet is not there, but what samples are asked for stays the same.
    """
    network, used, beside = trained[0].network, [], []
    if ADAPTER in inputs:
        made, scale = (inputs["denoiser"], inputs["data"], inputs.get("texts")), cfg["adapter"]["scale"]
        changes, branch = _trained(inputs[ADAPTER], *made)
        used += [(changes, scale)] if scale else []
        beside += [] if branch is None else [(branch, scale)]
    try:
        if files := [*finished(cfg)]:
            base = base_of(network)  # with a hash of all weights
            for path, scale in files:
                if is_control(path):
                    beside.append((read_control(path, encoder_of(network), base.digests["unet"]), scale))
                else:
                    used.append((added(load(path, base), network), scale))
    except ValueError as error:
        raise ArtifactError(f"adapters: {error}") from error
    with merged(network, used):
        for branch, scale in beside:
            trained = controlled(trained, branch, built_control(cfg), scale)
        yield trained


@lru_cache(KEPT)
def _trained(
    adapter: Artifact, denoiser: Artifact, data: Artifact, texts: Artifact | None
) -> tuple[Changes, nn.Module | None]:
    """What it changes, and what it puts beside the network."""
    trained, info = load_denoiser(denoiser, data, texts), DataInfo.read(data.path)
    network = trained[0].network
    tuning = built_tuning(adapter.manifest["config"]["adapter"]["tuning"], info, network, trained[2])
    path: Path = adapter.path / FILE
    try:
        return tuning.changes(path, network), tuning.beside(path, network)
    except ValueError as error:
        raise ArtifactError(str(error)) from error
