"""Pictures with what they were to show written below each."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from condiff.reports.grid import INK
from condiff.reports.redact import printable

GAP, PADDING = 12, 4  # pixels between cells, and between a picture and its caption
SIDE = 128  # pixels that a small picture is enlarged to
FONT_SIZE, MOST_LINES = 12, 4
EMPTY = "(nothing asked)"


def captioned(images: np.ndarray, captions: Sequence[str], columns: int) -> Image.Image:
    """uint8 pictures, [N, H, W, 1] or [N, H, W, 3], row by row on transparent paper, without blur.

    A caption is wrapped to the width of its picture and cut after four lines.
    """
    if len(images) != len(captions):
        raise ValueError(f"{len(captions)} captions for {len(images)} pictures")
    scale = max(1, SIDE // images.shape[1])
    font = ImageFont.load_default(FONT_SIZE)
    height, width = (scale * side for side in images.shape[1:3])
    lines = [_wrapped(caption, font, width - PADDING) for caption in captions]
    line = int(font.getbbox("Ag")[3]) + 2
    cell = height + PADDING + line * max(map(len, lines), default=1) + GAP
    rows = -(-len(images) // columns)
    sheet = Image.new("RGBA", (columns * (width + GAP) - GAP, max(1, rows * cell - GAP)))
    draw = ImageDraw.Draw(sheet)
    for place, (image, said) in enumerate(zip(images, lines, strict=True)):
        top, left = place // columns * cell, place % columns * (width + GAP)
        pixels = image.repeat(3 // image.shape[-1], axis=-1).repeat(scale, axis=0).repeat(scale, axis=1)
        sheet.paste(Image.fromarray(pixels), (left, top))
        for k, text in enumerate(said):
            at = left, top + height + PADDING + k * line
            draw.text(at, text, fill=(INK, INK, INK, 255), font=font)
    return sheet


def _wrapped(caption: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """In lines that fit below a picture of this width."""
    lines = [""]
    for word in " ".join(printable(caption).split()).split() or [EMPTY]:
        longer = f"{lines[-1]} {word}".lstrip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    cut = lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        cut[-1] = f"{cut[-1]} …"
    return [_shortened(line, font, width) for line in cut]


def _shortened(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    while len(line) > 1 and font.getlength(line) > width:
        line = f"{line.rstrip('… ')[:-1]}…"
    return line
