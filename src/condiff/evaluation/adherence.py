"""Do samples show the shapes that their captions ask for, and not those that were to be avoided?"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import permutations
from typing import ClassVar

import torch
from torch import Tensor

from condiff.evaluation.checks import check_pictures, check_two
from condiff.evaluation.each_sample import EachSample
from condiff.evaluation.intervals import Interval, wilson
from condiff.evaluation.measurement import gathered
from condiff.evaluation.shapes import Found, Reading, read
from condiff.scenes.captions import named, parse
from condiff.scenes.scene import Scene, Thing, relation_of

ATTRIBUTES = ("count", "colour", "shape", "size", "place", "relation", "background")
_OF_THINGS = ("colour", "shape", "size")
_NOT_ASKED = -1


class Adherence(EachSample):
    """The share of samples that show all that their captions ask for, and the share that show each of it.

    An attribute counts where a caption says it, and is right where every thing that is asked for has it. What
    is asked for is paired with what is found so that most agrees; a thing too many makes the count wrong.
    Captions of things that no training picture shows are told apart from those of seen ones.
    """

    needs_text = True
    needs_shapes: ClassVar[bool] = True  # captions of ``scenes``, and no others
    one_size = True  # pictures of several sizes do not come in the order of their captions
    higher_is_better = True
    part_names: ClassVar = (
        "", "_seen", "_unseen", "_count", "_colour", "_shape", "_size", "_place", "_relation", "_background",
    )  # fmt: skip
    right: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Scene] = []
        self.unseen: set[str] = set()
        self.protocol = "samples, all shapes as the caption says by image analysis"
        self.add_state("right", [], dist_reduce_fx="cat")

    def tell(self, captions: Sequence[str], unseen: Sequence[str] = ()) -> None:
        self.asked, self.unseen = [parse(caption) for caption in captions], {*unseen}

    @property
    def sides(self) -> tuple[str, ...]:
        return ("samples",)

    @property
    def count(self) -> int:
        return len(gathered(self.right))

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        check_pictures(self, side, images)
        self.take_places(images)
        places = self.place[-1].tolist()
        if places and max(places) >= len(self.asked):
            raise ValueError(
                f"Adherence needs a caption of every sample, got {len(self.asked)} for sample {max(places)}"
            )
        scores = [agreement(self.asked[at], found) for at, found in zip(places, read(images), strict=True)]
        rows = [[score.get(name, _NOT_ASKED) for name in ATTRIBUTES] for score in scores]
        self.right.append(
            torch.tensor(rows, dtype=torch.int8, device=images.device).view(-1, len(ATTRIBUTES))
        )

    def compute(self) -> Tensor:
        return self._all_right().double().mean()

    def interval(self) -> Interval:
        return wilson(int(self._all_right().sum()), self.count)

    def parts(self) -> Iterator[tuple[str, Tensor, Interval | None]]:
        """An attribute that no caption says has no share."""
        yield "", type(self).compute(self), self.interval()
        for name, right in self._shares().items():
            yield f"_{name}", right.double().mean(), wilson(int(right.sum()), len(right))

    def count_of(self, part: str) -> int:
        return len(self._shares()[part[1:]]) if part else self.count

    def per_sample(self) -> Tensor:
        return self.in_turn(self._all_right())

    def _shares(self) -> dict[str, Tensor]:
        return {**self._by_seen(), **self._each()}

    def _by_seen(self) -> dict[str, Tensor]:
        """Which are all right: of samples whose captions name only what training showed, and of others."""
        right = self._all_right()
        new = [any(thing.kind in self.unseen for thing in scene.things) for scene in self.asked]
        is_new = torch.tensor(new)[gathered(self.place).cpu()]
        split = {"seen": right[~is_new.to(right.device)], "unseen": right[is_new.to(right.device)]}
        return {name: some for name, some in split.items() if len(some)} if any(new) else {}

    def _all_right(self) -> Tensor:
        """[N] bool"""
        return (self._rows() != 0).all(1)

    def _each(self) -> dict[str, Tensor]:
        """Of the samples that were asked for an attribute, which have it: bool."""
        columns = zip(ATTRIBUTES, self._rows().unbind(1), strict=True)
        asked = {name: column[column != _NOT_ASKED] == 1 for name, column in columns}
        return {name: right for name, right in asked.items() if len(right)}

    def _rows(self) -> Tensor:
        """[N, attributes] of 1 for right, 0 for wrong and -1 for not asked."""
        check_two(self, self.count)
        return gathered(self.right)


class Avoidance(EachSample):
    """The share of samples that show a shape and no shape that is what was to be avoided.

    A picture in which nothing can be read has avoided nothing; ``readable`` is the share in which all can.

    negative: what is to be avoided, such as "red", "circle", "large red circle", "top left" or "black".
    """

    higher_is_better = True
    part_names: ClassVar = ("", "_readable")
    avoided: list[Tensor]

    def __init__(self, negative: str) -> None:
        super().__init__()
        self.negative = named(negative)
        self.protocol = f"samples, shapes without {negative!r} by image analysis"
        self.add_state("avoided", [], dist_reduce_fx="cat")

    @property
    def sides(self) -> tuple[str, ...]:
        return ("samples",)

    @property
    def count(self) -> int:
        return len(gathered(self.avoided))

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        check_pictures(self, side, images)
        self.take_places(images)
        rows = [
            [is_readable(found) and not shows(found, self.negative), is_readable(found)]
            for found in read(images)
        ]
        self.avoided.append(torch.tensor(rows, dtype=torch.bool, device=images.device).view(-1, 2))

    def compute(self) -> Tensor:
        return self._rows()[:, 0].double().mean()

    def interval(self) -> Interval:
        return wilson(int(self._rows()[:, 0].sum()), self.count)

    def parts(self) -> Iterator[tuple[str, Tensor, Interval | None]]:
        for name, right in zip(self.part_names, self._rows().unbind(1), strict=True):
            yield name, right.double().mean(), wilson(int(right.sum()), self.count)

    def per_sample(self) -> Tensor:
        return self.in_turn(self._rows()[:, 0])

    def _rows(self) -> Tensor:
        check_two(self, self.count)
        return gathered(self.avoided)


def agreement(asked: Scene, found: Reading) -> dict[str, bool]:
    """Of each attribute that is asked for, whether it is found; by the pairing of things that agrees most."""
    nobody = [None] * len(asked.things)
    pairings = permutations([*found.things, *nobody], len(asked.things))
    things = max(pairings, key=lambda things: _agreeing(asked, things))
    right = {"count": len(found.things) == len(asked.things)}
    for name in _OF_THINGS:
        said = [(thing, one) for thing, one in zip(asked.things, things, strict=True) if _of(thing, name)]
        if said:
            right[name] = all(_of(thing, name) == _of(one, name) for thing, one in said)
    if asked.place is not None:
        right["place"] = _of(things[0], "place") == asked.place
    if asked.relation is not None:
        right["relation"] = _are_related(asked.relation, things)
    if asked.background is not None:
        right["background"] = found.background == asked.background
    return right


def is_readable(found: Reading) -> bool:
    """Whether there are things in a picture, and each has a colour and a shape with a name."""
    return bool(found.things) and all(thing.colour and thing.shape for thing in found.things)


def shows(found: Reading, attributes: dict[str, str]) -> bool:
    """Whether one thing of a picture, with its background, has all of these attributes."""
    background = {"background": found.background}
    return any(attributes.items() <= {**asdict(thing), **background}.items() for thing in found.things)


def _agreeing(asked: Scene, things: tuple[Found | None, ...]) -> int:
    pairs = list(zip(asked.things, things, strict=True))
    right = sum(_of(one, name) == _of(thing, name) is not None for thing, one in pairs for name in _OF_THINGS)
    related = asked.relation is not None and _are_related(asked.relation, things)
    return right + related + sum(one is not None for one in things)


def _are_related(relation: str, things: tuple[Found | None, ...]) -> bool:
    first, second = things
    if first is None or second is None:
        return False
    return relation_of(first.x - second.x, first.y - second.y) == relation


def _of(thing: Thing | Found | None, name: str) -> str | None:
    return getattr(thing, name, None)
