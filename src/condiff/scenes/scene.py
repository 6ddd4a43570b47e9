"""What a picture of coloured shapes shows, in the words that captions are made of."""

from dataclasses import asdict, dataclass
from typing import Any

Colour = tuple[int, int, int]

# Each is 120 or more in RGB from every other and from every background.
COLOURS: dict[str, Colour] = {
    "red": (225, 35, 35),
    "green": (30, 165, 60),
    "blue": (45, 75, 225),
    "yellow": (245, 215, 40),
    "pink": (240, 80, 190),
    "cyan": (40, 205, 220),
}
BACKGROUNDS: dict[str, Colour] = {"white": (248, 248, 248), "grey": (128, 128, 128), "black": (8, 8, 8)}
SHAPES = ("circle", "square", "triangle", "diamond", "cross")
SIZES = ("small", "large")
PLACES = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")
RELATIONS = ("to the left of", "to the right of", "above", "below")  # of the first thing to the second


@dataclass(frozen=True)
class Thing:
    """One shape of a picture."""

    colour: str
    shape: str
    size: str | None = None  # None where nothing is said of it

    @property
    def kind(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """One thing at a place, or two in a relation; None where nothing is said of it."""

    things: tuple[Thing, ...]
    place: str | None = None  # of the only thing
    relation: str | None = None  # of the first thing to the second
    background: str | None = None

    def facts(self) -> dict[str, Any]:
        """What is said of it, as plain JSON."""
        things = [_said(asdict(thing)) for thing in self.things]
        return {"things": things, **_said(asdict(self), "place", "relation", "background")}


# Pair k is colour k mod 6 with shape k mod 5; 6 and 5 share no factor, so all 30 pairs come once, well mixed.
KINDS = [
    f"{[*COLOURS][k % len(COLOURS)]} {SHAPES[k % len(SHAPES)]}" for k in range(len(COLOURS) * len(SHAPES))
]


def place_at(x: float, y: float, size: float) -> str:
    """The ninth of a size x size picture that a point lies in; x grows to the right and y downwards."""
    column, row = (min(2, max(0, int(3 * value / size))) for value in (x, y))
    return PLACES[3 * row + column]


def relation_of(dx: float, dy: float) -> str:
    """Where a thing is that lies at (dx, dy) from another: along the longer way."""
    if abs(dx) >= abs(dy):
        return "to the right of" if dx > 0 else "to the left of"
    return "below" if dy > 0 else "above"


def _said(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: fields[name] for name in names or fields if fields[name] is not None}
