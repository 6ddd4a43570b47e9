"""A labelled grid of small pictures, each pixel a square."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from condiff.reports.redact import printable

INK = 120  # grey, about 4.4 : 1 against white and against near-black, so the paper can stay transparent
GAP = 2  # pixels between pictures
FONT_SIZES = (12, 20)  # a third of a picture's height, within these
LABEL_SPACE = 8  # pixels between a label and the pictures
LABEL_LETTERS = 28  # a longer label is cut

_INK = (INK, INK, INK, 255)


@dataclass(frozen=True)
class Layout:
    """Where things stand in a grid, in pixels."""

    columns: int
    cell: tuple[int, int]  # height, width of a picture as shown
    margin: tuple[int, int]  # height above, width left of the pictures

    def origin(self, index: int) -> tuple[int, int]:
        """Top and left of picture ``index``; pictures run along the rows."""
        row, column = divmod(index, self.columns)
        return self.margin[0] + row * (self.cell[0] + GAP), self.margin[1] + column * (self.cell[1] + GAP)

    def size(self, count: int) -> tuple[int, int]:
        """Height and width of the whole grid of ``count`` pictures."""
        rows = ceil(count / self.columns)
        top, left = self.origin(rows * self.columns)[0] - GAP, self.origin(self.columns - 1)[1] + self.cell[1]
        return max(top, self.margin[0]), left


def grid(
    images: np.ndarray,  # uint8 [N, H, W], [N, H, W, 1] or [N, H, W, 3]
    columns: int,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    scale: int = 1,
) -> Image.Image:
    """The pictures row by row on transparent paper, enlarged ``scale`` times without blur, labels outside."""
    row_labels, column_labels = _cut(row_labels), _cut(column_labels)
    images = _checked(images, columns, row_labels, column_labels, scale)
    layout = layout_of(images, columns, row_labels, column_labels, scale)
    mode = "LA" if images.shape[-1] == 1 else "RGBA"
    height, width = layout.size(len(images))
    canvas = np.zeros((height, width, images.shape[-1] + 1), np.uint8)
    for index, image in enumerate(images):
        top, left = layout.origin(index)
        place = canvas[top : top + layout.cell[0], left : left + layout.cell[1]]
        place[..., :-1] = image.repeat(scale, axis=0).repeat(scale, axis=1)
        place[..., -1] = 255
    sheet = Image.fromarray(canvas).convert("RGBA")
    _write_labels(ImageDraw.Draw(sheet), layout, row_labels, column_labels)
    return sheet.convert(mode)


def layout_of(
    images: np.ndarray,  # [N, H, W, ...]
    columns: int,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    scale: int = 1,
) -> Layout:
    """The layout that ``grid`` uses for these arguments."""
    cell = (images.shape[1] * scale, images.shape[2] * scale)
    font = _font(cell[0])
    left = max((ceil(font.getlength(label)) + LABEL_SPACE for label in _cut(row_labels)), default=0)
    top = ceil(font.getbbox("Ag")[3]) + LABEL_SPACE if column_labels else 0
    return Layout(columns, cell, (top, left))


def _checked(
    images: np.ndarray, columns: int, row_labels: Sequence[str], column_labels: Sequence[str], scale: int
) -> np.ndarray:
    if images.dtype != np.uint8:
        raise ValueError(f"a grid takes uint8 pictures, got {images.dtype}")
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[-1] not in {1, 3} or 0 in images.shape:
        raise ValueError(f"a grid takes pictures [N, H, W], [N, H, W, 1] or [N, H, W, 3], got {images.shape}")
    if columns < 1 or scale < 1:
        raise ValueError(f"a grid has columns >= 1 and scale >= 1, got {columns} and {scale}")
    rows = ceil(len(images) / columns)
    if row_labels and len(row_labels) != rows:
        raise ValueError(f"{len(row_labels)} row labels for {rows} rows")
    if column_labels and len(column_labels) != columns:
        raise ValueError(f"{len(column_labels)} column labels for {columns} columns")
    return images


def _write_labels(
    draw: ImageDraw.ImageDraw, layout: Layout, row_labels: Sequence[str], column_labels: Sequence[str]
) -> None:
    font = _font(layout.cell[0])
    for row, label in enumerate(row_labels):
        top, left = layout.origin(row * layout.columns)
        draw.text((left - LABEL_SPACE, top + layout.cell[0] / 2), label, fill=_INK, font=font, anchor="rm")
    for column, label in enumerate(column_labels):
        left = layout.origin(column)[1] + layout.cell[1] / 2
        draw.text((left, layout.margin[0] / 2), label, fill=_INK, font=font, anchor="mm")


def _cut(labels: Sequence[str]) -> list[str]:
    """Labels as one short line each."""
    lines = [" ".join(printable(label).split()) for label in labels]
    return [line if len(line) <= LABEL_LETTERS else line[: LABEL_LETTERS - 1] + "…" for line in lines]


def _font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, in a size that goes with pictures of this height."""
    smallest, largest = FONT_SIZES
    return ImageFont.load_default(min(max(height // 3, smallest), largest))
