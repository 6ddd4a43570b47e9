"""What each part of a run must be: a sampler is no guidance, though both may be built."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from condiff.config.signatures import TargetError, class_attribute, kinds_of

# The base class, or the room, of what stands at a path or under an argument's name.
_BASES = {
    "data": "Source",
    "base_data": "Source",
    "process": "Process",
    "data.pictures": "Source",
    "detector": "Detector",
    "objective.parameterization": "Parameterization",
    "objective.times": "TimeSampler",
    "objective.weight": "Weighting",
    "method": "Diffusion",
    "judge.method": "JudgeTraining",
    "autoencoder.method": "FirstStage",
    "classifier.network": "ImageClassifier",
    "classifier.method": "NoisyClassifier",
    "adapter.tuning": "Tuning",
    "adapter.text": "Tuning",
    "adapter.method": "Adaptation",
    "adapter.control": "Control",
    "optimizer": "AdamW",
    "trainer": "Training",
    "sampler": "Sampler",
    "grid": "Grid",
    "autoencoder.network": "Autoencoder",
    "schedule": "Schedule",
    "extractor": "FrozenFeatures",
    "judge": "FrozenClassifier",  # where a metric is given its own
    "clip": "Clip",
    "sentence_encoder": "SentenceEncoder",
    "distance": "PerceptualDistance",
    "reconstruction": "Reconstruction",
    "adversary": "PatchAdversary",
    "codebook": "Codebook",
    "preprocess": "Preprocess",
    "quantize": "Quantize",
}
_ROOMS = {
    "conditioner": "condiff.conditioners.",
    "network": "condiff.networks.",
    "judge.network": "condiff.evaluation.",
}
_PART = re.compile(r".*\.parts\.[^.]+")  # of several conditioners, under a name that is the user's
_GUIDANCE = {"guidance", "inner", "links"}  # a protocol: known by the constant that each must have


def wrong_kinds(cfg: Mapping[str, Any]) -> Iterator[str]:
    for path, node in objects(cfg, ""):
        target = str(node["_target_"])
        words = re.sub(r"\[\d+\]", "", path)
        try:
            wanted = _wanted(target, _key(words))
        except (TargetError, ValueError):
            continue  # has its own line
        if wanted is not None:
            yield f"{path}._target_: must be {wanted}, got {target}"


def objects(node: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every node with a ``_target_`` from here down, and its path."""
    if isinstance(node, list):
        for place, item in enumerate(node):
            yield from objects(item, f"{path}[{place}]")
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield path, node
        for key, item in node.items():
            yield from objects(item, f"{path}.{key}" if path else str(key))


def _key(path: str) -> str:
    """What says which kind belongs there."""
    if path in {*_BASES, *_ROOMS}:
        return path
    return "conditioner" if _PART.fullmatch(path) else path.rpartition(".")[2]


def _wanted(target: str, key: str) -> str | None:
    """What should stand here, where a target is something else."""
    kinds = kinds_of(target)
    if key in _BASES and _BASES[key] not in kinds:
        return f"a {_BASES[key]}"
    if key in _ROOMS and not target.startswith(_ROOMS[key]):
        return f"a class of {_ROOMS[key].rstrip('.')}"
    if key in _GUIDANCE and class_attribute(target, "needs_null") is None:
        return "a guidance"
    return None
