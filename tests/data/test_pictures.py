"""Odd pictures of every kind, with the pixels they must become."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from condiff.data.pictures import Unreadable, decode, natural_size, square, to_png


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def pixel(data: bytes) -> tuple[str, object]:
    image = decode(data)
    return image.mode, image.getpixel((0, 0))


def palette_with_transparency() -> Image.Image:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 200, 100, 0])
    return image


CORPUS = {
    "rgb": (encoded(Image.new("RGB", (4, 4), (1, 2, 3))), ("RGB", (1, 2, 3))),
    "rgba half": (encoded(Image.new("RGBA", (4, 4), (0, 100, 200, 128))), ("RGB", (127, 177, 227))),
    "rgba clear": (encoded(Image.new("RGBA", (4, 4), (9, 9, 9, 0))), ("RGB", (255, 255, 255))),
    "webp alpha": (
        encoded(Image.new("RGBA", (4, 4), (9, 9, 9, 0)), "WEBP", lossless=True),
        ("RGB", (255, 255, 255)),
    ),
    "grey": (encoded(Image.new("L", (4, 4), 77)), ("L", 77)),
    "grey jpeg": (encoded(Image.new("L", (8, 8), 77), "JPEG"), ("L", 77)),
    "grey alpha": (encoded(Image.new("LA", (4, 4), (0, 128))), ("L", 127)),
    "one bit": (encoded(Image.new("1", (4, 4), 1)), ("L", 255)),
    "16 bit": (encoded(Image.fromarray(np.full((4, 4), 257 * 100 + 130, np.uint16))), ("L", 101)),
    "palette": (encoded(palette_with_transparency()), ("RGB", (10, 20, 30))),
    "palette clear": (encoded(palette_with_transparency(), transparency=0), ("RGB", (255, 255, 255))),
    "rgb with clear colour": (
        encoded(Image.new("RGB", (4, 4), (1, 2, 3)), transparency=(1, 2, 3)),
        ("RGB", (255, 255, 255)),
    ),
    "cmyk": (encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"), ("RGB", (255, 255, 255))),
}


@pytest.mark.parametrize("name", CORPUS)
def test_odd_pictures_become_what_is_documented(name):
    data, expected = CORPUS[name]
    assert pixel(data) == expected


def test_a_picture_is_turned_upright_by_its_exif():
    image = Image.new("RGB", (16, 8), "black")
    image.paste((255, 255, 255), (0, 0, 8, 8))  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    upright = decode(encoded(image, "JPEG", exif=exif, quality=100))
    assert upright.size == (8, 16)
    assert upright.getpixel((4, 2)) == (255, 255, 255)  # left went to the top
    assert upright.getpixel((4, 13)) == (0, 0, 0)


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for kind in ("PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert pixel(data) == ("RGB", (255, 0, 0))


def bomb(width: int, height: int) -> bytes:
    """A one-bit PNG whose header promises a lot, in few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width // 8 + 1) * min(height, 100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is an empty file"),
        (b"hello", "is no picture"),
        (encoded(Image.new("L", (4, 4)), "GIF"), "is no picture"),
        (encoded(Image.effect_noise((64, 64), 50))[:-2000], "cannot be decoded"),
        (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:500], "cannot be decoded"),
        (bomb(10_000, 10_000), "10000x10000 pixels; at most 16777216"),
        (bomb(14_000, 14_000), "too many pixels|14000x14000"),
        (bomb(0, 5), "cannot be decoded|is no picture|0x5"),
        (encoded(Image.new("L", (1, 40))), "1x40 pixels; sides"),
    ],
)
def test_what_is_no_whole_picture_of_sane_size_is_refused(data, what):
    with pytest.raises(Unreadable, match=what):
        decode(data)


def test_every_truncation_is_refused():
    for kind in ("PNG", "JPEG", "WEBP"):
        data = encoded(Image.effect_noise((32, 32), 50).convert("RGB"), kind)
        for share in (0.05, 0.3, 0.6, 0.9):
            with pytest.raises(Unreadable):
                decode(data[: int(len(data) * share)])


def test_fitting_takes_the_centre_and_keeps_exact_sizes_untouched():
    ramp = np.tile(np.arange(24, dtype=np.uint8), (8, 1))
    np.testing.assert_array_equal(square(8, 1).fit(Image.fromarray(ramp)), ramp[:, 8:16])
    assert square(8, 3).fit(Image.fromarray(ramp)).shape == (8, 8, 3)


def test_fitting_halves_by_boxes_first():
    checkers = (np.indices((32, 32)).sum(0) % 2 * 255).astype(np.uint8)
    fitted = square(8, 1).fit(Image.fromarray(checkers))
    assert set(np.unique(fitted)) <= {127, 128}  # averaging leaves no aliasing


@pytest.mark.parametrize("shape", [(100, 70), (64, 64), (37, 90), (33, 16), (200, 131)])
def test_fitting_is_the_centre_crop_of_guided_diffusion(shape):
    """Boxes while the short side is twice too long, bicubic to the size, the middle of the long side."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8))
    theirs = picture
    while min(theirs.size) >= 32:
        theirs = theirs.resize((theirs.size[0] // 2, theirs.size[1] // 2), resample=Image.Resampling.BOX)
    scale = 16 / min(*theirs.size)
    sides = (round(theirs.size[0] * scale), round(theirs.size[1] * scale))
    theirs = np.array(theirs.resize(sides, resample=Image.Resampling.BICUBIC))
    top, left = (theirs.shape[0] - 16) // 2, (theirs.shape[1] - 16) // 2
    np.testing.assert_array_equal(square(16, 3).fit(picture), theirs[top : top + 16, left : left + 16])


def test_png_keeps_every_pixel():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(decode(to_png(image))), image)


def test_natural_size_is_rounded_down_and_capped():
    assert [natural_size(side, 64, 8) for side in (7, 8, 30, 64, 500)] == [0, 8, 24, 64, 64]
