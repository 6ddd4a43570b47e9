"""Plots by matplotlib, to be printed and to stand inside a page whose colours they take."""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from condiff.reports.axes import log_axis, short
from condiff.reports.curves import COLOURS
from condiff.reports.redact import escaped, printable, redact

if TYPE_CHECKING:  # half a second to import, and not every run draws
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

INK, SOFT, RULE, PAPER = "#1b1f24", "#59626d", "#e3e5e8", "#ffffff"
DASHES = ("-", (0, (4, 1.6)), (0, (1.2, 1.4)))
SIZE = (3.7, 2.7)  # inches; a column of a paper
DOTS = 200  # an inch, of the PNG
_FONTS = ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"]
# What a colour of the file is in a page; the page says it for light and dark.
_CSS = {
    INK: "currentColor",
    SOFT: "var(--soft)",
    RULE: "var(--rule)",
    PAPER: "var(--paper)",
    **{colour: f"var(--series-{place})" for place, colour in enumerate(COLOURS)},
}
_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 8.5,
    "text.parse_math": False,  # a name may hold a $
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": PAPER,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "condiff",
}
_IDENTITY = re.compile(r'\bid="([^"]*)"')
_LINK = re.compile(r'(xlink:href="#|url\(#)')
_MARK = re.compile(r'<g id="mark:([^":]*):[^"]*">')


@dataclass(frozen=True)
class Plot:
    """One figure, drawn."""

    name: str  # of its files
    title: str
    caption: str
    png: bytes
    svg: str  # a file of its own, on white
    labels: Mapping[str, str]  # by the mark that a point carries, what it is

    def inline(self) -> str:
        """The SVG as part of a page: its colours the page's, its ids its own, its marks classes."""
        text = self.svg[self.svg.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
        text = re.sub(r' (?:width|height|version|xmlns|xmlns:xlink)="[^"]*"', "", text.split(">", 1)[0]) + (
            f' role="img" aria-label="{escaped(self.title)}">{text.split(">", 1)[1]}'
        )
        text = _MARK.sub(lambda found: f'<g class="of {found[1]}">{self._title(found[1])}', text)
        text = _IDENTITY.sub(rf'id="{self.name}-\1"', text)
        text = _LINK.sub(rf"\g<1>{self.name}-", text)
        return re.sub("|".join(_CSS), lambda found: _CSS[found[0]], text)

    def _title(self, mark: str) -> str:
        return f"<title>{escaped(self.labels[mark])}</title>" if mark in self.labels else ""


def drawn(
    name: str,
    title: str,
    caption: str,
    draw: "Callable[[Axes], None]",
    labels: Mapping[str, str],
    size: tuple[float, float] = SIZE,
) -> Plot:
    """The plot that a function draws into empty axes."""
    with _axes(size) as axes:
        draw(axes)
        svg, png = io.StringIO(), io.BytesIO()
        figure: Any = axes.figure
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # it is laid out, once for both files
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(png, format="png", dpi=DOTS, metadata={"Software": None})
    return Plot(name, title, caption, png.getvalue(), svg.getvalue(), labels)


def words(text: object) -> str:
    """A name as one line that can be drawn."""
    return " ".join(printable(redact(str(text))).split())


def cut(text: str, letters: int = 34) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def wrapped(text: str, letters: int, lines: int = 3) -> str:
    """The same on several lines; of what is longer, the beginning and the end, which tell it from others."""
    text, most = " ".join(text.split()), letters * lines
    if len(text) > most:
        text = f"{text[: most // 2]}…{text[-(most // 3) :]}"
    found = [""]
    for word in text.split():
        for k, part in enumerate(_parts(word, letters)):
            longer = f"{found[-1]} {part}" if k == 0 and found[-1] else f"{found[-1]}{part}"
            found = [*found[:-1], longer] if len(longer) <= letters else [*found, part]
    return "\n".join(line for line in found if line)


def log_ticks(axis: "Axis", values: Sequence[float]) -> None:
    """Few ticks in plain numbers on a logarithmic axis, which matplotlib would write as formulas."""
    found = log_axis(values, 0, 1)
    axis.set_ticks(found.ticks, [short(tick) for tick in found.ticks])
    axis.set_ticks([], minor=True)


def mark(name: str, part: object) -> str:
    """The gid of something that belongs to ``name``; ``part`` makes it the only one."""
    return f"mark:{name}:{part}"


def file_name(*parts: str) -> str:
    """Words as the name of a file and the start of an id."""
    return re.sub(r"[^A-Za-z0-9]+", "_", "_".join(parts)).strip("_")[:80] or "plot"


def _parts(word: str, letters: int) -> list[str]:
    """A word that is too long for a line goes on below after an underscore, or where it must."""
    if len(word) <= letters:
        return [word]
    pieces = re.findall(r"[^_]*_|[^_]+", word)
    return [piece[k : k + letters] for piece in pieces for k in range(0, len(piece), letters)]


@contextmanager
def _axes(size: tuple[float, float]) -> "Iterator[Axes]":
    import matplotlib  # noqa: PLC0415
    from matplotlib import font_manager  # noqa: PLC0415
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    known = {font.name for font in font_manager.fontManager.ttflist}
    fonts = [font for font in _FONTS if font in known]
    style: Any = {**_STYLE, "font.sans-serif": fonts}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=size)
        FigureCanvasAgg(figure)
        yield figure.add_subplot()
