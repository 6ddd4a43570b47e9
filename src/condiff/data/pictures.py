"""From the bytes of any picture to a square of uint8, and back to PNG."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

EXTENSIONS = ("png", "jpg", "jpeg", "webp")
MAX_PIXELS = 4096 * 4096
_LONGEST = 32  # sides of 1:32; a longer strip would explode when its short side is enlarged
_GREY = ("1", "L", "LA", "La")

# Sizes are refused here before anything is decoded; Pillow's own warning comes later and higher.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class Unreadable(Exception):
    """What is wrong with a picture, and what is allowed."""


class Sides(Protocol):
    """What has the size of a picture."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...


@dataclass(frozen=True)
class Frame:
    """What pictures are fitted to."""

    height: int
    width: int
    channels: int

    def fit(self, image: Image.Image) -> np.ndarray:
        """The picture as [height, width] or [height, width, 3] uint8: resized to fill it, centre cropped.

        Halved by boxes while twice too large, then bicubic, as in Dhariwal 2021's data set.
        """
        image = image.convert("L" if self.channels == 1 else "RGB")
        while image.height >= 2 * self.height and image.width >= 2 * self.width:
            image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
        resized = self._resized(image)
        if resized != image.size:
            image = image.resize(resized, Image.Resampling.BICUBIC)
        left, top = (image.width - self.width) // 2, (image.height - self.height) // 2
        return np.asarray(image.crop((left, top, left + self.width, top + self.height)))

    def framing(self, image: Sides) -> tuple[int, ...]:
        """Of a picture to be ``fit``: its height and width, top and left of the cut after the resize, and the
        cut's height and width: what SDXL is told of its training pictures (Podell 2023, sec. 2.2).
        """
        width, height = self._resized(image)
        left, top = (width - self.width) // 2, (height - self.height) // 2
        return image.height, image.width, top, left, self.height, self.width

    def _resized(self, image: Sides) -> tuple[int, int]:
        scale = max(self.height / image.height, self.width / image.width)
        return round(image.width * scale), round(image.height * scale)


def square(size: int, channels: int) -> Frame:
    return Frame(size, size, channels)


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture upright, grey ("L") where it is stored so and "RGB" otherwise, on white.

    Colour profiles are not applied; of an animation the first frame counts.
    """
    if not data:
        raise Unreadable("is an empty file; a png, jpg, jpeg or webp picture is needed")
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as opened:
            _hold_size(opened.width, opened.height, max_pixels)
            return _plain(ImageOps.exif_transpose(opened))
    except Unreadable:
        raise
    except UnidentifiedImageError as error:
        raise Unreadable("is no picture; png, jpg, jpeg and webp are read") from error
    except Image.DecompressionBombError as error:
        raise Unreadable(f"has too many pixels; at most {max_pixels} are read (data.max_pixels)") from error
    except Exception as error:  # decoders raise nearly every type on damaged bytes
        what = " ".join(str(error).split()) or type(error).__name__
        raise Unreadable(f"cannot be decoded ({what}); a whole png, jpg, jpeg or webp is needed") from error


def looks_like(path: Path) -> tuple[tuple[int, int], bool] | None:
    """Size and whether it is grey, as a picture's header has it; None where that cannot be read."""
    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as opened:
            return opened.size, opened.mode in _GREY or opened.mode.startswith("I")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def to_png(image: np.ndarray) -> bytes:
    """[H, W] or [H, W, 3] uint8 as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def natural_size(shortest: int, max_size: int, multiple_of: int) -> int:
    """Size read from the data: the shortest side rounded down, at most ``max_size``; 0 if too small."""
    return min(shortest, max_size) // multiple_of * multiple_of


def _hold_size(width: int, height: int, max_pixels: int) -> None:
    if width * height == 0:
        raise Unreadable(f"has {width}x{height} pixels; at least 1x1 is needed")
    if width * height > max_pixels:
        raise Unreadable(f"has {width}x{height} pixels; at most {max_pixels} are read (data.max_pixels)")
    if max(width, height) > _LONGEST * min(width, height):
        raise Unreadable(f"has {width}x{height} pixels; sides may differ by a factor of {_LONGEST}")


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("L" if image.mode in _GREY else "RGB")
    white = Image.new("RGBA", image.size, "white")
    flat = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return flat.convert("L") if image.mode in _GREY else flat


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey by rounding (65535 = 255 * 257); Pillow's own conversion would clip at 255."""
    values = np.asarray(image).astype(np.int64)
    grey = ((values.clip(0, 65535) + 128) // 257).astype(np.uint8)
    grey[values == image.info.get("transparency", -1)] = 255
    return Image.fromarray(grey)
