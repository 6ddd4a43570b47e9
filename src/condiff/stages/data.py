"""Pictures of a source, written as shards."""

from collections.abc import Mapping
from pathlib import Path

from condiff.config.build import build
from condiff.data.prepare import prepare
from condiff.stages.stage import Artifact, Config, Runtime


def fingerprint(cfg: Config, cache: Path) -> str:
    """What the source holds now; asked for before anything runs, so it imports no torch."""
    return build(cfg["data"], "data").fingerprint(cache / "fingerprints")


def fingerprint_of_base(cfg: Config, cache: Path) -> str:
    return build(cfg["base_data"], "base_data").fingerprint(cache / "fingerprints")


def write(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    prepare(build(cfg["data"], "data"), out)


def write_of_base(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """What the base of an adapter is trained on, where the study trains it on other data than the adapter."""
    prepare(build(cfg["base_data"], "base_data"), out)
