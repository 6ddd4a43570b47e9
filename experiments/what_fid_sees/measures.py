"""Every number a set of pictures gets, by the measurements that runs of condiff are measured with."""

import hashlib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from condiff.evaluation.diversity import VendiScore
from condiff.evaluation.frechet import FrechetDistance
from condiff.evaluation.frechet_infinity import FrechetInfinity
from condiff.evaluation.kernel import KernelDistance
from condiff.evaluation.measurement import FeatureExtractor, Measurement
from condiff.evaluation.memorisation import Memorisation
from condiff.evaluation.precision_recall import PrecisionRecall

AT_ONCE = 250


@dataclass(frozen=True)
class Number:
    """One number about one set."""

    measure: str
    value: float
    interval: tuple[float, float] | None
    n: int
    caveat: str


class Remembered:
    """An extractor that looks at no picture twice: most sets here share pictures.

    A copy of a picture also gets exactly its features, whatever stood beside it in a batch.
    """

    def __init__(self, network: Any) -> None:
        self.network, self.name, self.feature_dim = network, network.name, network.feature_dim
        self.known: dict[bytes, Tensor] = {}
        self.seen: Tensor | None = None

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        if self.seen is not images:
            keys = [hashlib.sha256(image.numpy().tobytes()).digest() for image in images]
            new = {key: place for place, key in enumerate(keys) if key not in self.known}
            for part in torch.tensor(list(new.values()), dtype=torch.int64).split(AT_ONCE):
                self.known |= {keys[k]: row for k, row in zip(part, self.network(images[part]), strict=True)}
            self.seen, self.found = images, torch.stack([self.known[key] for key in keys])
        return self.found

    def __deepcopy__(self, memo: Any) -> "Remembered":
        return self


def all_measures(extractor: FeatureExtractor) -> dict[str, Measurement]:
    return {
        "fd": FrechetDistance(extractor),
        "kid": KernelDistance(extractor),
        "prdc": PrecisionRecall(extractor),
        "memorised": Memorisation(extractor),
        "vendi": VendiScore(extractor),
    }


def distances(extractor: FeatureExtractor) -> dict[str, Measurement]:
    return {"fd": FrechetDistance(extractor), "kid": KernelDistance(extractor)}


def measures_of_count(extractor: FeatureExtractor, num: int) -> dict[str, Measurement]:
    """Those whose dependence on the number of pictures is looked at; a line over 1/n needs full rank."""
    infinite = {"fd_infinity": FrechetInfinity(extractor, smallest=0.5)}
    return distances(extractor) | (infinite if num / 2 > extractor.feature_dim else {})


def shown(measures: Mapping[str, Measurement], side: str, images: Tensor) -> Mapping[str, Measurement]:
    """Copies of the measures that have also seen these pictures."""
    copies = {name: deepcopy(measure) for name, measure in measures.items()}
    for measure in copies.values():
        if side in measure.sides:
            measure.update(side, images, None)
    return copies


def numbers(measures: Mapping[str, Measurement]) -> Iterator[Number]:
    for name, measure in measures.items():
        caveat, suffix = measure.caveat(), measure.suffix()
        for added, value, interval in measure.parts():
            kind = name + added.removesuffix(suffix) if suffix else name + added
            yield Number(kind.removeprefix("prdc_"), float(value), interval, measure.count, caveat)
