"""Do samples show what their captions say, as far as features of pictures tell the meaning of a text?"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from condiff.evaluation.caption_cosines import TOP, CaptionCosines
from condiff.evaluation.checks import features_of
from condiff.evaluation.each_sample import EachSample
from condiff.evaluation.intervals import Interval, normal
from condiff.evaluation.measurement import gathered
from condiff.evaluation.regression import fitted
from condiff.evaluation.statistics import FeatureExtractor, Features, Statistics
from condiff.ranges import Count, Positive, checked

_FITTED = {"train": "training", "base": "the base's training"}
_IGNORED = "the pictures do not depend on their captions as far as this n shows"


class SentenceVectors(Protocol):
    """Texts to vectors, [N, feature_dim]."""

    name: str
    feature_dim: int

    def __call__(self, texts: Sequence[str], place: torch.device | str = "cpu") -> Tensor: ...


class TextAlignment(EachSample):
    """The mean cosine of the vectors of the samples' captions with what is told of them from the samples.

    A ridge regression from the features of the training pictures to the vectors of their captions, fitted in
    float64, tells a vector of each sample. Both are taken less their mean in training, so that what all
    captions share counts for nothing: pictures without any relation to their captions get about 0.
    ``over_shuffled`` is by how much the cosine falls with the captions of other samples, the mean over all
    that say something else; ``top5`` how often a sample's own caption is among the five nearest of
    ``among``, the mean over all choices of the others among the captions of all samples.

    fake: the samples, or the held-out pictures, whose numbers are what real pictures reach.
    fit: the training pictures, or those of an adapter's base, where the own have too few captions.
    ridge: in units of the features' mean variance; null is the one of a grid with the least generalised
    cross-validation error on the training pictures.
    """

    needs_text = True
    needs_captions = True
    one_size = True  # pictures of several sizes do not come in the order of their captions
    higher_is_better = True
    part_names: ClassVar = ("", "_over_shuffled", "_top5")
    features: list[Tensor]
    vectors: list[Tensor]
    words: list[Tensor]

    @checked
    def __init__(
        self,
        extractor: FeatureExtractor,
        sentence_encoder: SentenceVectors,
        fake: Literal["samples", "held_out"] = "samples",
        fit: Literal["train", "base"] = "train",
        ridge: Positive | None = None,
        among: Count = 100,
    ) -> None:
        super().__init__()
        if among <= TOP:
            raise ValueError(f"TextAlignment.among must be more than {TOP}, got {among}; 100 is usual")
        self.extractor, self.encoder, self.fake = extractor, sentence_encoder, fake
        self.ridge, self.among, self.fit = ridge, among, fit
        self.asked: list[str] = []
        self.described: list[str] = []
        self.known: Statistics | None = None
        self._found: tuple[tuple[int, int], CaptionCosines] | None = None
        size = extractor.feature_dim + sentence_encoder.feature_dim
        self.add_state("fit_count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("fit_sum", torch.zeros(size).double(), dist_reduce_fx="sum")
        self.add_state("fit_outer", torch.zeros(size, size).double(), dist_reduce_fx="sum")
        for name in ("features", "vectors", "words"):
            self.add_state(name, [], dist_reduce_fx="cat")
        self.protocol = (
            f"{fake} and their captions, cosine of {sentence_encoder.name} ({sentence_encoder.feature_dim})"
            f" and what a ridge regression tells of them from {extractor.name} features"
            f" ({extractor.feature_dim}), both less their mean in {_FITTED[fit]}"
        )

    @property
    def sides(self) -> tuple[str, ...]:
        return (self.fake,) if self.known else (self.fit, self.fake)

    @property
    def count(self) -> int:
        return len(gathered(self.features))

    def tell(self, captions: Sequence[str], unseen: Sequence[str] = ()) -> None:
        self.asked = [*captions]

    def describe(self, side: str, captions: Sequence[str]) -> None:
        self.described = [*captions]

    def wanted_real(self) -> tuple[str, Features] | None:
        return None if self.known else (self.fit, _Beside(self.extractor, self.encoder))

    def take_real(self, statistics: Statistics) -> None:
        self.known, self._found = statistics, None

    def real_statistics(self) -> Statistics:
        if self.known:
            return self.known
        n, total, outer = int(self.fit_count), self.fit_sum, self.fit_outer  # pyright: ignore[reportArgumentType]
        if n < 2:
            raise ValueError(f"TextAlignment needs at least 2 {self.fit} pictures to be fitted on, got {n}")
        mean = total / n  # pyright: ignore[reportOperatorIssue]
        return Statistics(mean, (outer - n * torch.outer(mean, mean)) / (n - 1), n)  # pyright: ignore[reportOperatorIssue]

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        features = features_of(self, self.extractor, side, images)
        captions = self._captions_of(side, images)
        vectors = self.encoder(captions, images.device)
        if side == self.fit:
            rows = torch.cat([features.double(), vectors.double()], 1)
            self.fit_count += len(rows)  # pyright: ignore[reportOperatorIssue, reportAttributeAccessIssue]
            self.fit_sum += rows.sum(0)  # pyright: ignore[reportOperatorIssue, reportAttributeAccessIssue]
            self.fit_outer.addmm_(rows.T, rows)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
            return
        self.features.append(features)
        self.vectors.append(vectors)
        numbers = [_number(caption) for caption in captions]
        self.words.append(torch.tensor(numbers, dtype=torch.long, device=images.device))

    def compute(self) -> Tensor:
        return self._told().own.mean()

    def interval(self) -> Interval:
        own = self._told().own
        return normal(float(own.mean()), own)

    def parts(self) -> Iterator[tuple[str, Tensor, Interval | None]]:
        """Of captions that are all the same there is the first number only, of five there are no nearest."""
        told, (cosine, over, top) = self._told(), self.part_names
        yield cosine, type(self).compute(self), self.interval()
        if told.num_captions > 1:
            value, terms = told.over_shuffled()
            yield over, value, normal(float(value), terms)
        if told.num_captions > TOP:
            hits = told.top(self.among)
            yield top, hits.mean(), normal(float(hits.mean()), hits)

    def caveat(self) -> str:
        told = self._told()
        how = "as given" if self.ridge else "by generalised cross-validation"
        ridge = f"ridge {told.ridge.share:.2g} of their features' variance {how}"
        said = [f"fitted on {told.ridge.count} pictures, {ridge}"]
        if told.num_captions > TOP:
            few = min(self.among, told.num_captions)
            said.append(f"top {TOP} of {few} captions, {TOP / few:.2g} by chance")
        if told.num_captions > 1:
            value, terms = told.over_shuffled()
            low, high = normal(float(value), terms)
            said += [_IGNORED] if low <= 0 <= high else []
        return "; ".join(said)

    def per_sample(self) -> Tensor | None:
        return self.in_turn(self._told().own) if self.fake == "samples" else None

    def _captions_of(self, side: str, images: Tensor) -> list[str]:
        """What the next pictures show, or are to show."""
        if side != "samples":
            captions, self.described = self.described, []
            if len(captions) != len(images):
                raise ValueError(
                    f"TextAlignment needs a caption of every {side} picture, got {len(captions)} of"
                    f" {len(images)}; use data with captions"
                )
            return captions
        self.take_places(images)
        places = self.place[-1].tolist()
        if places and max(places) >= len(self.asked):
            raise ValueError(
                f"TextAlignment needs a caption of every sample, got {len(self.asked)} for sample"
                f" {max(places)}"
            )
        return [self.asked[at] for at in places]

    def _told(self) -> CaptionCosines:
        """What is told of the pictures; fitted once of the same ones."""
        n = self.count
        if n < 2:
            raise ValueError(f"TextAlignment needs at least 2 {self.fake} pictures, got {n}")
        real = self.real_statistics()
        key = (int(real.count or 0), n)
        if self._found is None or self._found[0] != key:
            place, dim = self.device, self.extractor.feature_dim
            ridge = fitted(real.mean.to(place), real.cov.to(place), dim, int(real.count or 0), self.ridge)
            told, said = ridge(gathered(self.features)), gathered(self.vectors).double() - ridge.mean_y
            self._found = key, CaptionCosines(told, said, gathered(self.words), ridge)
        return self._found[1]


class _Beside:
    """Features of pictures with the vectors of their captions, by the name of the moments of both."""

    def __init__(self, extractor: FeatureExtractor, encoder: SentenceVectors) -> None:
        self.name = f"{extractor.name}, beside {encoder.name}"
        self.feature_dim = extractor.feature_dim + encoder.feature_dim
        self.code = [*getattr(extractor, "code", []), type(encoder).__module__, __name__]


def _number(caption: str) -> int:
    """A number that a caption has alone, but for one chance in 2^63."""
    return int.from_bytes(sha256(caption.encode()).digest()[:8], "big", signed=True)
