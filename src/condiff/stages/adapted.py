"""A denoiser together with adapters, at any scales; no peft."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from condiff.adapters.formats import load
from condiff.adapters.low_rank import added, base_of
from condiff.adapters.tuning import merged
from condiff.config.build import build
from condiff.errors import ArtifactError
from condiff.stages.denoiser import Trained, load_denoiser
from condiff.stages.finished_adapters import ADAPTER, FILE, finished
from condiff.stages.stage import KEPT, Artifact, Config

Changes = dict[str, Tensor]  # what is added to each parameter of a denoiser's network


@contextmanager
def adapted(cfg: Config, inputs: Mapping[str, Artifact], trained: Trained) -> Iterator[None]:
    """The denoiser with the study's adapter, if it has one, and with those it names; after it as it was."""
    network, used = trained[0].network, []
    scale = cfg["adapter"]["scale"] if ADAPTER in inputs else 0
    if scale:
        made = inputs["denoiser"], inputs["data"], inputs.get("texts")
        used.append((_trained(inputs[ADAPTER], *made), scale))
    try:
        if files := [*finished(cfg)]:
            base = base_of(network)  # with a hash of all weights
            used += [(added(load(path, base), network), scale) for path, scale in files]
    except ValueError as error:
        raise ArtifactError(f"adapters: {error}") from error
    with merged(network, used):
        yield


@lru_cache(KEPT)
def _trained(adapter: Artifact, denoiser: Artifact, data: Artifact, texts: Artifact | None) -> Changes:
    network = load_denoiser(denoiser, data, texts)[0].network
    tuning = build(adapter.manifest["config"]["adapter"]["tuning"], "adapter.tuning")
    path: Path = adapter.path / FILE
    try:
        return tuning.changes(path, network)
    except ValueError as error:
        raise ArtifactError(str(error)) from error
