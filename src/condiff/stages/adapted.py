"""A denoiser together with its adapter, at any scale; no peft."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache

from torch import Tensor

from condiff.adapters.tuning import merged
from condiff.config.build import build
from condiff.errors import ArtifactError
from condiff.stages.denoiser import Trained, load_denoiser
from condiff.stages.stage import KEPT, Artifact, Config

FILE = "adapter.safetensors"


@contextmanager
def adapted(cfg: Config, inputs: Mapping[str, Artifact], trained: Trained) -> Iterator[None]:
    """The denoiser with the study's adapter, if it has one, at ``adapter.scale``; after it as it was."""
    scale = cfg["adapter"]["scale"] if "adapter" in inputs else 0
    if not scale:
        yield
        return
    changes = _changes(inputs["adapter"], inputs["denoiser"], inputs["data"], inputs.get("texts"))
    with merged(trained[0].network, [(changes, scale)]):
        yield


@lru_cache(KEPT)
def _changes(
    adapter: Artifact, denoiser: Artifact, data: Artifact, texts: Artifact | None
) -> dict[str, Tensor]:
    """What it adds to each parameter of the denoiser."""
    network = load_denoiser(denoiser, data, texts)[0].network
    tuning = build(adapter.manifest["config"]["adapter"]["tuning"], "adapter.tuning")
    try:
        return tuning.changes(adapter.path / FILE, network)
    except ValueError as error:
        raise ArtifactError(str(error)) from error
