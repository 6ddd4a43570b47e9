"""Names beside points that lie close together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# From the point, in points, and how the name hangs there.
_AROUND = (
    ((6, 3), "left", "bottom"),
    ((6, -3), "left", "top"),
    ((-6, 3), "right", "bottom"),
    ((-6, -3), "right", "top"),
    ((0, 8), "center", "bottom"),
    ((0, -8), "center", "top"),
)
_SIZE = 7.5


def label(axes: "Axes", points: Sequence[tuple[float, float, str]], paint: str) -> None:
    """Write each name where it hides least of the points and of the names before it."""
    figure: Any = axes.figure
    figure.draw_without_rendering()
    spots = [axes.transData.transform((x, y)) for x, y, _ in points]
    taken: list[Any] = []
    for x, y, name in points:
        tried = []
        for side in _AROUND:
            text = _written(axes, (x, y), name, side, paint)
            box = text.get_window_extent(figure.canvas.get_renderer())
            text.remove()
            hidden = sum(box.overlaps(other) for other in taken)
            hidden += sum(bool(box.contains(*spot)) for spot in spots)
            hidden += 2 * (not figure.bbox.fully_containsx(box.x0) or not figure.bbox.fully_containsx(box.x1))
            tried.append((hidden, box, side))
        _, box, side = min(tried, key=lambda one: one[0])
        taken.append(box)
        _written(axes, (x, y), name, side, paint)


def _written(axes: "Axes", at: tuple[float, float], name: str, side: Any, paint: str) -> Any:
    offset, across, up = side
    text = axes.annotate(
        name,
        at,
        offset,
        textcoords="offset points",
        ha=across,
        va=up,
        fontsize=_SIZE,
        color=paint,
        zorder=5,
    )
    text.set_in_layout(False)
    return text
