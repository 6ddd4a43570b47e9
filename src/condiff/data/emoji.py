"""Emoji in several styles, with names and categories; drawn from installed packages at any size."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from PIL import ImageColor

from condiff.data.emoji_names import CATEGORIES, Pictogram, held_out, read_pictograms
from condiff.data.emoji_styles import (
    NAMES,
    Canvas,
    Noto,
    OpenMoji,
    Style,
    Twemoji,
    package_folder,
    refuse_missing,
    versions,
)
from condiff.data.held_out import order
from condiff.data.source import DataInfo, Example, Source, Split, refuse
from condiff.files import digest, file_digest
from condiff.ranges import Count, Natural, Probability, checked

StyleName = Literal["twemoji", "openmoji", "noto"]


class Emoji(Source):
    """Every emoji with a name, once in each style; its class is its category.

    About a share of ``held_out`` is held out: whole families of one base, so that neither a skin tone nor
    a gender of what is trained on is among them, and the same ones whatever the styles. With ``line`` the
    black strokes of each picture lie beside it as ``line.png``; only openmoji has them. ``font`` is where
    noto is drawn from, if not from where Debian keeps it. ``only`` and ``without`` are the first code
    points (1f431) of emoji that are taken or left out. ``caption`` is said of each, with its {style} and
    {name}.
    """

    @checked
    def __init__(
        self,
        size: Count = 32,
        styles: Sequence[StyleName] = ("twemoji", "openmoji"),
        background: str = "white",
        line: bool = False,
        held_out: Probability = 0.1,
        seed: Natural = 0,
        font: str | None = None,
        only: list[str] | None = None,
        without: list[str] | None = None,
        caption: str = "{style} emoji of {name}",
    ) -> None:
        self.only, self.without, self.caption = only, without, _template(caption)
        self.size, self.with_lines, self.share, self.seed = size, line, held_out, seed
        self.canvas = Canvas(size, _solid(background))
        self.styles = _styles(styles, line, font)

    def check(self, memo_dir: Path | None = None) -> None:
        refuse_missing([NAMES, *(package for style in self.styles for package in style.packages)])
        refuse([*self._unknown(), *(fault for style in self.styles if (fault := style.fault()))])

    def fingerprint(self, memo_dir: Path | None = None) -> str:
        self.check()
        content = {style.name: style.content(self._shown[style.name]) for style in self.styles}
        names = [file_digest(self._table), versions([NAMES])]
        settings = [self.size, self.canvas.background, self.with_lines, self.share, self.seed]
        settings.append(self.caption)
        return digest([content, names, settings])

    def info(self) -> DataInfo:
        num_train, num_held_out = (len(self.pictures(split)) for split in ("train", "held_out"))
        return DataInfo(
            num_classes=len(CATEGORIES),
            class_names=CATEGORIES,
            channels=3,
            size=self.size,
            num_train=num_train,
            num_held_out=num_held_out,
            has_text=True,
            source=f"{num_train + num_held_out:,} pictures of emoji from "
            f"{' and '.join(style.title for style in self.styles)}, whose licences lie beside the shards",
            left_out=[],
        )

    def examples(self, split: Split) -> Iterator[Example]:
        """In an order that mixes classes and styles."""
        for key, pictogram, style in sorted(self.pictures(split), key=lambda row: order(row[0])):
            yield Example(
                key,
                style.draw(pictogram, self.canvas),
                CATEGORIES.index(pictogram.category),
                self.caption.replace("{style}", style.name).replace("{name}", pictogram.name),
                facts=_facts(pictogram, style),
                line=style.line(pictogram, self.size) if self.with_lines else None,
            )

    def notices(self) -> dict[str, str]:
        return {f"LICENCE-{style.name}.txt": style.notice() for style in self.styles}

    def pictures(self, split: Split) -> list[tuple[str, Pictogram, Style]]:
        """Key, emoji and style of every picture."""
        return [
            (f"{style.name}-{pictogram.pair}", pictogram, style)
            for style in self.styles
            for pictogram in self._shown[style.name]
            if (pictogram.family in self._held_out) == (split == "held_out")
        ]

    @cached_property
    def _shown(self) -> dict[str, list[Pictogram]]:
        """By style."""
        return {style.name: [*filter(style.has, self._pictograms)] for style in self.styles}

    @cached_property
    def _pictograms(self) -> list[Pictogram]:
        found = read_pictograms(self._table)
        return [one for one in found if _is_among(one.base, self.only, self.without)]

    def _unknown(self) -> list[str]:
        """A line for each code point that no emoji begins with."""
        known = {pictogram.base for pictogram in read_pictograms(self._table)}
        return [
            f"data.{key}: no emoji begins with {code!r}; give first code points as in [1f431, 1f638]"
            for key, codes in (("only", self.only), ("without", self.without))
            for code in codes or []
            if code not in known
        ]

    @cached_property
    def _held_out(self) -> set[str]:
        return held_out(self._pictograms, self.share, self.seed)

    @property
    def _table(self) -> Path:
        return package_folder(NAMES) / "data" / "emoji.json"


def _is_among(base: str, only: Sequence[str] | None, without: Sequence[str] | None) -> bool:
    return (only is None or base in only) and base not in (without or ())


def _template(caption: str) -> str:
    if not caption.strip() or {*"{}"} & {*caption.replace("{style}", "").replace("{name}", "")}:
        raise ValueError(
            f"Emoji.caption must be words, and {{style}} and {{name}} for each emoji's own, got {caption!r}"
        )
    return caption


def _facts(pictogram: Pictogram, style: Style) -> dict[str, object]:
    return {
        "style": style.name,
        "name": pictogram.name,
        "keywords": pictogram.keywords,
        "category": pictogram.category,
        "pair": pictogram.pair,
        "base": pictogram.base,
    }


def _styles(names: Sequence[str], line: bool, font: str | None) -> list[Style]:
    known: dict[str, Style] = {style.name: style for style in (Twemoji(), OpenMoji(), Noto(font))}
    allowed = f"a list of some of {', '.join(known)}, each once"
    if not names or len({*names}) < len(names) or not {*names} <= {*known}:
        raise ValueError(f"Emoji.styles must be {allowed}, got {[*names]}")
    if line and not all(known[name].has_lines for name in names):
        raise ValueError(
            f"Emoji.line: only openmoji has strokes apart, and data.styles is {[*names]}; use [openmoji]"
        )
    if font is not None and "noto" not in names:
        raise ValueError(
            f"Emoji.font: has no effect on {[*names]}; leave it null, or add noto to data.styles"
        )
    return [known[name] for name in names]


def _solid(background: str) -> tuple[int, int, int]:
    try:
        colour = ImageColor.getrgb(background)
    except ValueError:
        colour = ()
    if len(colour) != 3:
        raise ValueError(
            f"Emoji.background must be a solid colour such as white or '#ffcc00', got {background!r}"
        )
    return colour
