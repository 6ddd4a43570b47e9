import numpy as np
import pytest
from PIL import Image

from condiff.reports.grid import GAP, INK, LABEL_LETTERS, grid, layout_of


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("labels", [((), ()), (("zero", "one", "a longer name"), tuple("abcd"))])
@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_every_pixel_of_every_picture_stands_where_the_layout_says(channels, scale, labels):
    images = random_images(11, 5, 4, *channels)
    shown = np.asarray(grid(images, 4, *labels, scale).convert("RGBA"))
    layout = layout_of(images, 4, *labels, scale)
    seen = np.zeros(shown.shape[:2], bool)
    for index, image in enumerate(images):
        top, left = layout.origin(index)
        assert (top, left) == (
            layout.margin[0] + index // 4 * (5 * scale + GAP),
            layout.margin[1] + index % 4 * (4 * scale + GAP),
        )
        for y in range(5 * scale):
            for x in range(4 * scale):
                expected = np.broadcast_to(image[y // scale, x // scale], 3)
                assert (shown[top + y, left + x] == [*expected, 255]).all()
                seen[top + y, left + x] = True
    below, right = layout.margin
    assert not shown[below:, right:, 3][~seen[below:, right:]].any()


def test_without_labels_there_is_no_margin():
    images = random_images(6, 8, 7)
    assert layout_of(images, 3).margin == (0, 0)
    assert grid(images, 3).size == (3 * 7 + 2 * GAP, 2 * 8 + GAP)
    assert grid(images, 3, scale=2).size == (3 * 14 + 2 * GAP, 2 * 16 + GAP)


def test_labels_stand_outside_and_level_with_their_pictures():
    images = np.zeros((4, 30, 30), np.uint8)
    bare = np.asarray(grid(images, 2, ["", ""], ["", ""]).convert("RGBA"))
    shown = np.asarray(grid(images, 2, ["W", ""], ["", "W"]).convert("RGBA"))
    layout = layout_of(images, 2, ["W", ""], ["", "W"])
    inked = np.argwhere(shown[..., 3] * (shown[..., 0] == INK) > 0)
    beside = inked[inked[:, 1] < layout.margin[1]]
    above = inked[inked[:, 0] < layout.margin[0]]
    assert len(beside) + len(above) == len(inked) > 0
    left = layout.origin(3)[1]
    assert layout.margin[0] <= beside[:, 0].min() <= beside[:, 0].max() < layout.margin[0] + 30
    assert left <= above[:, 1].min() <= above[:, 1].max() < left + 30
    assert bare.shape[1] < shown.shape[1]


def test_the_soft_edges_of_letters_have_the_colour_of_ink_so_any_paper_does():
    shown = np.asarray(grid(np.zeros((1, 40, 40, 3), np.uint8), 1, ["Rung"]).convert("RGBA"))
    letters = shown[:, : -40 - 1][shown[:, : -40 - 1, 3] > 0]
    assert (letters[:, 3] < 255).any()
    assert (letters[:, :3] == INK).all()


def test_grey_pictures_make_a_grey_file():
    assert grid(random_images(2, 4, 4), 2).mode == "LA"
    assert grid(random_images(2, 4, 4, 3), 2).mode == "RGBA"


def test_a_long_label_is_cut_and_a_broken_one_is_one_line():
    images = random_images(1, 20, 20)
    widest = layout_of(images, 1, ["M" * LABEL_LETTERS]).margin[1]
    assert layout_of(images, 1, ["M" * 500]).margin[1] <= widest
    assert isinstance(grid(images, 1, ["a\nb\033"]), Image.Image)


@pytest.mark.parametrize(
    ("images", "columns", "rows", "heads", "scale", "what"),
    [
        (np.zeros((2, 4, 4)), 1, (), (), 1, "uint8"),
        (np.zeros((4, 4), np.uint8), 1, (), (), 1, r"\[N, H, W\]"),
        (np.zeros((2, 3, 4, 4), np.uint8), 1, (), (), 1, r"\[N, H, W"),
        (np.zeros((0, 4, 4), np.uint8), 1, (), (), 1, r"\[N, H, W"),
        (np.zeros((2, 4, 4), np.uint8), 0, (), (), 1, "columns >= 1"),
        (np.zeros((2, 4, 4), np.uint8), 1, (), (), 0, "scale >= 1"),
        (np.zeros((3, 4, 4), np.uint8), 2, ("a",), (), 1, "1 row labels for 2 rows"),
        (np.zeros((3, 4, 4), np.uint8), 2, (), ("a",), 1, "1 column labels for 2 columns"),
    ],
)
def test_what_cannot_be_a_grid_is_refused(images, columns, rows, heads, scale, what):
    with pytest.raises(ValueError, match=what):
        grid(images, columns, rows, heads, scale)
