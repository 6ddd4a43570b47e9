"""Small multiples as one SVG, in the look of condiff's curves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from condiff.reports.axes import Axis, short
from condiff.reports.curves import COLOURS
from condiff.reports.redact import escaped

WIDTH, HEIGHT = 190, 165  # of a panel, with its margins
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 26, 36
SIDE, LEGEND, LETTER = 26, 26, 6.6  # room for the name of a row, height of a legend, width of a letter


@dataclass(frozen=True)
class Line:
    name: str
    points: Sequence[tuple[float, float]]
    spread: Sequence[float] = ()  # half of an error bar at each point
    dashed: int = 0  # where the dashes begin, 6 pixels each, so that two lines at one place are both seen


@dataclass(frozen=True)
class Panel:
    title: str
    lines: Sequence[Line]
    ticks: Sequence[tuple[float, str]]  # where on x, and what is written there
    x_label: str
    up: Callable[[float, float], Axis]  # from the pixels of the lower and the upper end
    colours: Sequence[int] = ()  # places in the palette; 0, 1, ... where nothing is said

    def colour(self, place: int) -> str:
        return COLOURS[self.colours[place] if self.colours else place]


@dataclass(frozen=True)
class Band:
    """A row of panels with one legend above and one name at the side."""

    name: str
    panels: Sequence[Panel]


def svg(bands: Sequence[Band]) -> str:
    columns = max(len(band.panels) for band in bands)
    width, tall = SIDE + columns * WIDTH + RIGHT, LEGEND + HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {len(bands) * tall}" '
        f'font-size="13" fill="#222" style="background:#fff;font-family:sans-serif">'
    ]
    for row, band in enumerate(bands):
        middle = LEGEND + (TOP + HEIGHT - BOTTOM) / 2
        parts.append(f'<g transform="translate(0 {row * tall})">')
        parts.append(
            _text(14, middle, band.name, f'text-anchor="middle" transform="rotate(-90 14 {middle})"')
        )
        parts += _legend(band)
        for column, panel in enumerate(band.panels):
            parts.append(f'<g transform="translate({SIDE + column * WIDTH} {LEGEND})">')
            parts += [*_frame(panel), *_lines(panel), "</g>"]
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, words: str, how: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {how}>{escaped(words)}</text>'


def _legend(band: Band) -> list[str]:
    """Each line that some panel has, once."""
    lines = {
        line.name: (line, panel.colour(k)) for panel in band.panels for k, line in enumerate(panel.lines)
    }
    parts, left = [], SIDE + LEFT
    for line, paint in lines.values():
        parts.append(f'<path d="M{left:.0f} 14h20" stroke-width="2.5" stroke="{paint}"{_dash(line)}/>')
        parts.append(_text(left + 26, 18, line.name))
        left += 26 + LETTER * len(line.name) + 18
    return parts


def _dash(line: Line) -> str:
    return f' stroke-dasharray="6 6" stroke-dashoffset="{line.dashed}"' if line.dashed else ""


def _axes(panel: Panel) -> tuple[Axis, Axis]:
    xs = [x for line in panel.lines for x, _ in line.points] + [x for x, _ in panel.ticks]
    across = Axis(min(xs), max(xs), LEFT + 8, WIDTH - RIGHT - 8, [x for x, _ in panel.ticks])
    return across, panel.up(HEIGHT - BOTTOM, TOP)


def _frame(panel: Panel) -> list[str]:
    across, up = _axes(panel)
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [_text((LEFT + right) / 2, TOP - 9, panel.title, 'text-anchor="middle" font-weight="600"')]
    parts.append(f'<path d="M{LEFT} {floor}H{right}" stroke="#222" opacity=".5"/>')
    for y in up.ticks:
        parts.append(f'<path d="M{LEFT} {up.at(y):.1f}H{right}" stroke="#222" opacity=".13"/>')
        parts.append(
            _text(LEFT - 6, up.at(y) + 4, short(y), 'text-anchor="end" opacity=".75" font-size="12"')
        )
    for x, words in panel.ticks:
        how = 'text-anchor="middle" opacity=".75" font-size="11"'
        parts.append(_text(across.at(x), floor + 14, words, how))
    parts.append(_text((LEFT + right) / 2, HEIGHT - 6, panel.x_label, 'text-anchor="middle" font-size="12"'))
    return parts


def _lines(panel: Panel) -> list[str]:
    across, up = _axes(panel)
    parts = []
    for place, line in enumerate(panel.lines):
        paint = panel.colour(place)
        at = [(across.at(x), up.at(min(max(y, up.low), up.high))) for x, y in line.points]
        corners = "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
        parts.append(f'<path d="M{corners}" fill="none" stroke="{paint}" stroke-width="1.8"{_dash(line)}/>')
        if not line.dashed:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{paint}"/>' for x, y in at]
        for (x, y), half in zip(line.points, line.spread, strict=False):
            ends = [up.at(min(max(end, up.low), up.high)) for end in (y - half, y + half)]
            parts.append(f'<path d="M{across.at(x):.1f} {ends[0]:.1f}V{ends[1]:.1f}" stroke="{paint}"/>')
    return parts
