"""Names beside points of a plot: none lies on another, on a point or outside."""

import itertools

import pytest
from matplotlib.text import Text

from condiff.reports.labelling import label
from condiff.reports.plots import drawn

NAME = "study_adm,\nadaptive_projected_guidance,\ndpm_solver"


@pytest.mark.parametrize("step", [0.1, 0.03, 0.005])
def test_names_of_a_front_of_ten_points_hide_neither_each_other_nor_a_point(step):
    points = [(2 + step * k, 0.9 + step * k / 10, f"{NAME} {k}") for k in range(10)]
    points += [(3.5, 0.92, "right"), (2.0, 0.6, "below")]
    found = {}

    def draw(axes):
        axes.plot([x for x, _, _ in points], [y for _, y, _ in points], "o")
        label(axes, points, ["#000000"] * len(points))
        pen = axes.figure.canvas.get_renderer()
        for text in axes.texts:
            text.update_positions(pen)
        found["boxes"] = [Text.get_window_extent(text, pen) for text in axes.texts]
        found["spots"] = [axes.transData.transform((x, y)) for x, y, _ in points]
        found["whole"] = axes.figure.bbox

    drawn("plot", "", "", draw, {}, (7.6, 5.4))
    boxes = found["boxes"]
    assert len(boxes) == 12
    assert not [1 for one, other in itertools.combinations(boxes, 2) if one.overlaps(other)]
    assert not [1 for box in boxes for spot in found["spots"] if box.padded(3).contains(*spot)]
    assert all(found["whole"].x0 <= box.x0 and box.x1 <= found["whole"].x1 for box in boxes)
    assert all(found["whole"].y0 <= box.y0 and box.y1 <= found["whole"].y1 for box in boxes)


def test_a_name_keeps_off_lines_where_there_is_room_beside_them():
    """To the right of the point go two lines, to the left none."""
    found = {}
    lines = [[(0.5 + x / 1000, 0.5 + slope * x / 1000) for x in range(400)] for slope in (0.3, -0.3)]

    def draw(axes):
        axes.set(xlim=(0, 1), ylim=(0, 1))
        label(axes, [(0.5, 0.5, "a name")], ["#000000"], [(line[0], line[-1]) for line in lines])
        (text,), pen = axes.texts, axes.figure.canvas.get_renderer()
        text.update_positions(pen)
        found["box"] = Text.get_window_extent(text, pen)
        found["spots"] = [axes.transData.transform(spot) for line in lines for spot in line]

    drawn("plot", "", "", draw, {}, (7.6, 5.4))
    assert not [1 for spot in found["spots"] if found["box"].contains(*spot)]
