"""Pictures of coloured shapes with captions that can be read back from them; drawn from a seed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np

from condiff.data.source import SPLITS, DataInfo, Example, Source, Split
from condiff.files import digest
from condiff.ranges import Count, Fraction, Natural, Probability, Range, checked
from condiff.scenes.captions import wordings
from condiff.scenes.drawing import GAP, MARGIN, RADII, REACH, SIDE, coverage, painted
from condiff.scenes.scene import BACKGROUNDS, COLOURS, KINDS, PLACES, RELATIONS, SIZES, Scene, Thing

_JITTER = 8  # of each channel of a colour, 0..255
_CLEAR = 1.0  # between a centre of mass and the edge of its ninth of the picture
_ASIDE = 0.5  # how far one of two things may lie aside, over the distance that their relation is about


class Shapes(Source):
    """One or two coloured shapes a picture, with a caption, its facts as JSON and the first's kind as class.

    Each picture belongs to (seed, split, place in the split), whatever else is drawn. The first
    ``unseen_kinds`` pairs of colour and shape of ``KINDS`` never occur in training; every other held-out
    picture has one of them as its first thing, and the others have none. A caption leaves a
    ``share_unsaid`` of backgrounds, places and sizes open. Things lie anywhere in the ``spread`` about the
    middle of the room that their place or relation gives them: 1 is all of it, 0 its middle.
    """

    @checked
    def __init__(
        self,
        size: Annotated[int, Range(low=32)] = 32,
        num_train: Count = 9000,
        num_held_out: Count = 1000,
        share_of_two: Fraction = 0.5,
        unseen_kinds: Annotated[int, Range(low=0, high=20)] = 5,
        seed: Natural = 0,
        share_unsaid: Probability = 0.0,
        spread: Fraction = 1.0,
    ) -> None:
        self.size, self.seed, self.share_of_two, self.share_unsaid = size, seed, share_of_two, share_unsaid
        self.spread = spread
        self.counts: dict[Split, int] = {"train": num_train, "held_out": num_held_out}
        self.unseen, self.seen = KINDS[:unseen_kinds], KINDS[unseen_kinds:]

    def check(self, memo_dir: Path | None = None) -> None:
        """There is nothing to be missing."""

    def fingerprint(self, memo_dir: Path | None = None) -> str:
        settings = [self.size, self.seed, self.share_of_two, self.share_unsaid, self.spread]
        return digest([*settings, self.counts, self.unseen])

    def info(self) -> DataInfo:
        num_train, num_held_out = self.counts["train"], self.counts["held_out"]
        return DataInfo(
            num_classes=len(KINDS),
            class_names=KINDS,
            channels=3,
            size=self.size,
            num_train=num_train,
            num_held_out=num_held_out,
            has_text=True,
            source=f"{num_train + num_held_out:,} drawn pictures of coloured shapes, seed {self.seed}",
            left_out=[],
            unseen=self.unseen,
        )

    def examples(self, split: Split) -> Iterator[Example]:
        return (self.example(split, index) for index in range(self.counts[split]))

    def example(self, split: Split, index: int) -> Example:
        """The picture at a place of a split."""
        rng = np.random.default_rng([self.seed, SPLITS.index(split), index])
        scene = self._scene(rng, unseen=split == "held_out" and index % 2 == 0 and bool(self.unseen))
        image = _drawn(scene, self.size, _Draw(rng, self.spread))
        facts = {**scene.facts(), "unseen": any(thing.kind in self.unseen for thing in scene.things)}
        said = wordings(self._told(scene, rng) if self.share_unsaid else scene)
        text = said[rng.integers(len(said))]
        return Example(f"{split}-{index:07d}", image, KINDS.index(scene.things[0].kind), text, facts=facts)

    def _told(self, scene: Scene, rng: np.random.Generator) -> Scene:
        """What a caption tells of a scene: the background, the place and each size may be left open."""
        is_said = rng.random(4) >= self.share_unsaid
        things = [
            thing if said else replace(thing, size=None)
            for thing, said in zip(scene.things, is_said[2:], strict=False)
        ]
        background, place = (
            value if said else None
            for value, said in zip((scene.background, scene.place), is_said[:2], strict=True)
        )
        return replace(scene, things=tuple(things), background=background, place=place)

    def _scene(self, rng: np.random.Generator, unseen: bool) -> Scene:
        background = _one(rng, list(BACKGROUNDS))
        first = _thing(rng, self.unseen if unseen else self.seen)
        if rng.random() >= self.share_of_two:
            return Scene((first,), place=_one(rng, PLACES), background=background)
        others = [kind for kind in self.seen if kind.split()[0] != first.colour]
        return Scene((first, _thing(rng, others)), relation=_one(rng, RELATIONS), background=background)


@dataclass(frozen=True)
class _Draw:
    """Numbers from ranges, in the ``spread`` about their middles."""

    rng: np.random.Generator
    spread: float

    def between(self, low: float, high: float) -> float:
        return (low + high) / 2 + self.spread * self.rng.uniform(low - high, high - low) / 2


@dataclass(frozen=True)
class _Body:
    """A shape with its radius, and where its centre of mass may lie so that it is wholly in the picture."""

    shape: str
    radius: float
    size: float

    @property
    def reach(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """To the left and the right, up and down."""
        side, up, down = (self.radius * reach for reach in REACH[self.shape])
        return (side, side), (up, down)

    def room(self, axis: int) -> tuple[float, float]:
        before, after = self.reach[axis]
        margin = MARGIN * self.size / SIDE
        return margin + before, self.size - margin - after


def _drawn(scene: Scene, size: int, draw: _Draw) -> np.ndarray:
    """[size, size, 3] uint8"""
    unit, rng = size / SIDE, draw.rng
    bodies = [_Body(thing.shape, unit * rng.uniform(*RADII[str(thing.size)]), size) for thing in scene.things]
    if scene.place is not None:
        centres = [_at_place(bodies[0], scene.place, draw)]
    else:
        centres = _related(bodies, str(scene.relation), draw)
    picture = np.tile(_coloured(BACKGROUNDS[str(scene.background)], rng), (size, size, 1))
    for thing, body, (x, y) in zip(scene.things, bodies, centres, strict=True):
        part = coverage(thing.shape, x, y, body.radius, size)
        picture = painted(picture, part, _coloured(COLOURS[thing.colour], rng))
    return np.rint(picture).astype(np.uint8)


def _at_place(body: _Body, place: str, draw: _Draw) -> tuple[float, float]:
    """A centre well inside its ninth of the picture."""
    row, column = divmod(PLACES.index(place), 3)
    clear = _CLEAR * body.size / SIDE
    ends = [(body.size * third / 3 + clear, body.size * (third + 1) / 3 - clear) for third in (column, row)]
    rooms = [body.room(axis) for axis in (0, 1)]
    x, y = (draw.between(max(a, low), min(b, high)) for (a, b), (low, high) in zip(ends, rooms, strict=True))
    return x, y


def _related(bodies: list[_Body], relation: str, draw: _Draw) -> list[tuple[float, float]]:
    """Centres of two things that stand apart along the axis of their relation, and mostly along it."""
    along = 0 if "left" in relation or "right" in relation else 1
    is_first_before = relation in ("to the left of", "above")
    before, after = bodies if is_first_before else bodies[::-1]
    apart = before.reach[along][1] + GAP * before.size / SIDE + after.reach[along][0]
    (low, _), (_, high) = before.room(along), after.room(along)
    start = draw.between(low, high - apart)
    end = draw.between(start + apart, high)
    aside = _ASIDE * (end - start)
    (low, high), (least, most) = before.room(1 - along), after.room(1 - along)
    level = draw.between(low, high)
    other = draw.between(max(least, level - aside), min(most, level + aside))
    centres = [(start, level), (end, other)] if along == 0 else [(level, start), (other, end)]
    return centres if is_first_before else centres[::-1]


def _thing(rng: np.random.Generator, kinds: list[str]) -> Thing:
    colour, shape = _one(rng, kinds).split()
    return Thing(colour, shape, _one(rng, SIZES))


def _one(rng: np.random.Generator, of: list[str] | tuple[str, ...]) -> str:
    return of[rng.integers(len(of))]


def _coloured(colour: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Near a named colour, [3] in [0, 255]."""
    return np.clip(np.array(colour) + rng.uniform(-_JITTER, _JITTER, 3), 0, 255)
