"""How unlike the samples of one class are."""

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

from condiff.evaluation.checks import check_pictures
from condiff.evaluation.features.preprocess import Rounded
from condiff.evaluation.intervals import Interval, normal
from condiff.evaluation.measurement import Measurement, PairDistance, Side, gathered
from condiff.ranges import Count, Natural, checked

_UNLABELLED = -1  # the class of pictures without labels: they are compared with one another
_AT_ONCE = 100  # pairs that are floats at a time


class PairwiseDiversity(Measurement):
    """The mean distance between two pictures of the same class: 0 where each class is one picture.

    Pictures of a class are paired off at random, none twice, so the pairs are independent: their mean has
    no bias at any n, and its interval is that of a mean. The interval counts it as chance which classes
    there are; where each class comes equally often by design it is a little too wide. Classes take
    turns until there are enough pairs.

    The pictures are kept as bytes, C H W of them each, and compared when all are there.

    pairs: at most; 2 pictures go through the network for each.
    """

    higher_is_better = True
    one_size = True
    images: list[Tensor]
    label: list[Tensor]

    @checked
    def __init__(
        self, distance: PairDistance, fake: Side = "samples", pairs: Count = 1000, seed: Natural = 0
    ) -> None:
        super().__init__()
        self.distance, self.fake, self.pairs, self.seed = distance, fake, pairs, seed
        self.protocol = f"{fake}, mean over disjoint pairs within classes, bytes rounded, {distance.name}"
        self.add_state("images", [], dist_reduce_fx="cat")
        self.add_state("label", [], dist_reduce_fx="cat")

    @property
    def sides(self) -> tuple[str, ...]:
        return (self.fake,)

    @property
    def count(self) -> int:
        return len(gathered(self.label))

    def caveat(self) -> str:
        label = gathered(self.label)
        found = f"{min(self.pairs, _num_pairs(label))} pairs"
        return f"{found} of pictures without labels" if bool((label == _UNLABELLED).any()) else found

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        check_pictures(self, side, images)
        if len(self.images) and self.images[0].shape[1:] != images.shape[1:]:
            raise ValueError(f"PairwiseDiversity needs {side} pictures of one size, got several")
        self.images.append(Rounded()(images.float()).to(torch.uint8))
        unlabelled = torch.full((len(images),), _UNLABELLED, device=images.device)
        self.label.append(unlabelled if label is None else label)

    def compute(self) -> Tensor:
        return self._distances().mean()

    def parts(self) -> Iterator[tuple[str, Tensor, Interval | None]]:
        found = self._distances()
        value = found.mean()
        yield self.suffix(), value, normal(float(value), found) if len(found) > 1 else None

    @torch.no_grad()
    def _distances(self) -> Tensor:
        """[P] float64"""
        images, label = gathered(self.images), gathered(self.label)
        if not _num_pairs(label):
            raise ValueError(
                f"PairwiseDiversity needs at least 2 {self.fake} pictures, got {len(label)},"
                " no two of one class"
            )
        generator = torch.Generator().manual_seed(self.seed)
        chosen = disjoint_pairs(images, label, generator)[: self.pairs].split(_AT_ONCE)
        pictures = (images[pairs.T].float() / 127.5 - 1 for pairs in chosen)
        found = torch.cat([self.distance(first, second) for first, second in pictures])
        if not bool(found.isfinite().all()):
            raise ValueError(
                f"PairwiseDiversity: {self.distance.name} between {self.fake} pictures is not finite"
            )
        return found.double()


def disjoint_pairs(images: Tensor, label: Tensor, generator: torch.Generator) -> Tensor:
    """[P, 2], which of the images, [N, C, H, W] uint8, make pairs of one label, [N]: one of each in turn.

    The same pictures in another order make the same pairs: they are mixed from the order of their
    hashes, which have nothing to do with what is alike. Copies have one hash, and are mixed like the rest.
    """
    hashes = [hashlib.sha256(image.numpy().tobytes()).digest() for image in images.cpu()]
    by_hash = torch.tensor(sorted(range(len(hashes)), key=hashes.__getitem__))
    label, pairs, turns = label.cpu()[by_hash], [], []
    kinds = label.unique()
    for kind in kinds[torch.randperm(len(kinds), generator=generator)]:
        own = by_hash[label == kind]
        mixed = own[torch.randperm(len(own), generator=generator)]
        pairs.append(mixed[: len(mixed) // 2 * 2].reshape(-1, 2))
        turns.append(torch.arange(len(pairs[-1])))
    return torch.cat(pairs)[torch.cat(turns).argsort(stable=True)]


def _num_pairs(label: Tensor) -> int:
    return int((label.unique(return_counts=True)[1] // 2).sum())
