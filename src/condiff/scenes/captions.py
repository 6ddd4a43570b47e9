"""Captions of scenes and back: each scene in a few wordings, each wording read exactly."""

import re
from collections.abc import Iterable

from condiff.scenes.scene import BACKGROUNDS, COLOURS, PLACES, RELATIONS, SHAPES, SIZES, Scene, Thing

# How a place is said: "in the top left", but "at the top".
_AT = {
    "top": "at the top",
    "bottom": "at the bottom",
    "left": "on the left",
    "right": "on the right",
    "centre": "in the centre",
}
_PLACED = {place: _AT.get(place, f"in the {place}") for place in PLACES}


def wordings(scene: Scene) -> list[str]:
    """All captions of a scene, the plainest first; what it leaves open is not said."""
    thing, *others = map(_noun, scene.things)
    where = f"{scene.relation} {others[0]}" if others else _PLACED.get(scene.place or "", "")
    on = scene.background
    if on is None:
        return [_joined(thing, where)]
    return [
        f"{_joined(thing, where)} on {on}",
        f"{_joined(thing, where)} on a {on} background",
        f"on {on}, {_joined(thing, where)}",
        *([f"{thing} on {on}, {where}"] if where else []),
    ]


def parse(caption: str) -> Scene:
    """The scene that a caption says; ValueError where it is none of the wordings."""
    found = next((match for pattern in _PATTERNS if (match := pattern.fullmatch(caption))), None)
    if found is None:
        raise ValueError(
            f"{caption!r} is no caption of shapes; write one such as"
            " 'a large red circle in the top left on white', or"
            " 'a small blue square to the left of a green triangle'"
        )
    said = found.groupdict()
    things = [Thing(said["colour"], said["shape"], said["size"])]
    if said["relation"]:
        things.append(Thing(said["colour2"], said["shape2"], said["size2"]))
    place = _NAMED.get(said["place"] or "")
    return Scene(tuple(things), place, said["relation"], said["background"])


def named(words: str) -> dict[str, str]:
    """The attributes of a thing, the place or the background that a few words name; ValueError for none."""
    found = next((match for pattern in _NAMES if (match := pattern.fullmatch(words))), None)
    if found is None:
        known = ", ".join((*SIZES, *COLOURS, *SHAPES, *PLACES, *BACKGROUNDS))
        raise ValueError(f"{words!r} names no shape; words such as 'red', 'large red circle' do, of {known}")
    return {name: word for name, word in found.groupdict().items() if word}


def _noun(thing: Thing) -> str:
    return _joined("a", thing.size or "", thing.colour, thing.shape)


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)


def _one_of(name: str, words: Iterable[str]) -> str:
    return f"(?P<{name}>{'|'.join(words)})"


def _thing(number: str = "") -> str:
    size, colour = _one_of(f"size{number}", SIZES), _one_of(f"colour{number}", COLOURS)
    return f"a (?:{size} )?{colour} {_one_of(f'shape{number}', SHAPES)}"


_NAMED = {phrase: place for place, phrase in _PLACED.items()}
_WHERE = f"(?:{_one_of('place', _NAMED)}|{_one_of('relation', RELATIONS)} {_thing('2')})"
_ON = _one_of("background", BACKGROUNDS)
_PATTERNS = [
    re.compile(pattern)
    for pattern in (
        f"{_thing()}(?: {_WHERE})?(?: on {_ON})?",
        f"{_thing()}(?: {_WHERE})? on a {_ON} background",
        f"on {_ON}, {_thing()}(?: {_WHERE})?",
        f"{_thing()} on {_ON}, {_WHERE}",
    )
]
_NAMES = [
    re.compile(pattern)
    for pattern in (
        f"(?:{_one_of('size', SIZES)} )?(?:{_one_of('colour', COLOURS)} )?{_one_of('shape', SHAPES)}",
        f"(?:{_one_of('size', SIZES)} )?{_one_of('colour', COLOURS)}",
        _one_of("size", SIZES),
        _one_of("place", PLACES),
        _ON,
    )
]
