"""The same noise under several settings: side by side, and one laid over another."""

from collections.abc import Sequence

import numpy as np

from condiff.reports.comparison import Comparison, Pictures, evenly
from condiff.reports.grid import GAP, grid
from condiff.reports.html import data_uri
from condiff.reports.plots import wrapped
from condiff.reports.redact import breakable, escaped
from condiff.reports.tables import number

MOST_SHOWN = 12  # columns at once
SHOWN = 64  # CSS pixels that a small picture is enlarged to
BLINKED = 112  # the same where one is laid over another
LARGEST = 128
ACROSS = 5
LETTER = 7.2  # CSS pixels of a letter above a column
MOST_NAME = 9  # lines of a name there
TOLD = 4  # metrics named beside a setting


def noise(comparison: Comparison) -> list[str]:
    """The grids with what chooses among them, and the canvas; a sentence where there are no pictures."""
    groups = comparison.pictures
    if not groups:
        said = "No two of these runs have samples of the same noise in the cache."
        return [f'<p class="told">{said}</p>']
    places = sorted({place for group in groups for place in group.columns})
    first = [places[k] for k in evenly(len(places), MOST_SHOWN)]
    grids = [_noise(comparison, k, group, first) for k, group in enumerate(groups)]
    return [
        _chooser(comparison, places, first),
        f'<div class="beside">\n<div>{"".join(grids)}{_caption(groups, len(places))}</div>\n'
        f"{_blink(comparison, places, groups[0])}\n</div>",
    ]


def _chooser(comparison: Comparison, places: Sequence[int], first: Sequence[int]) -> str:
    """Which seed, and which settings."""
    seeds = [escaped(f"seed {group.seed}") for group in comparison.pictures]
    options = "".join(f'<option value="{k}">{seed}</option>' for k, seed in enumerate(seeds))
    select = f'<label>Noise of <select id="noise">{options}</select></label>' if len(seeds) > 1 else ""
    chips = "".join(
        f'<label><input type="checkbox" value="{place}"{" checked" if place in first else ""}>'
        f"{breakable(comparison.settings[place].label)}</label>"
        for place in places
    )
    chosen = f'<div class="chips" data-most="{MOST_SHOWN}">{chips}</div>'
    return f'<div class="controls live">{select}{chosen}</div>'


def _noise(comparison: Comparison, number_of: int, group: Pictures, first: Sequence[int]) -> str:
    """One grid: a column for each setting, a row for each noise."""
    any_one = next(iter(group.columns.values()))
    height, width = any_one.shape[1:3]
    scale = _scale(height, SHOWN)
    asked = "".join(f"<span>{escaped(row)}</span>" for row in group.rows)
    given = [
        f'<figure class="column given"><div class="name"><span>{breakable(name)}</span></div>'
        f"{_strip(images, name)}</figure>"
        for name, images in group.before.items()
    ]
    columns = [
        _column(comparison, place, images, place in first) for place, images in sorted(group.columns.items())
    ]
    tall = (height + GAP) * scale
    names = [comparison.settings[place].label for place in group.columns]
    lines = max(wrapped(name, int(width * scale / LETTER), MOST_NAME).count("\n") + 1 for name in names)
    sizes = f"--wide:{width * scale:g}px;--tall:{tall:g}px;--named:{lines}"
    hidden = "" if number_of == 0 else " hidden"
    return (
        f'<div class="noise" data-noise="{number_of}" style="{sizes}"{hidden}>'
        f'<div class="asked"><div class="name">asked for</div>{asked}</div>'
        f"{''.join(given)}{''.join(columns)}</div>"
    )


def _column(comparison: Comparison, place: int, images: np.ndarray, is_shown: bool) -> str:
    setting, hidden = comparison.settings[place], "" if is_shown else " hidden"
    told = escaped(_told(comparison, place))
    return (
        f'<figure class="column" data-place="{place}" data-told="{told}"{hidden}>'
        f'<div class="name" title="{escaped(setting.full)}"><span>{breakable(setting.label)}</span></div>'
        f"{_strip(images, setting.label)}</figure>"
    )


def _strip(images: np.ndarray, name: str) -> str:
    """The pictures below each other as one."""
    sheet = grid(images, 1)
    size = f'width="{sheet.width}" height="{sheet.height}"'
    return f'<img src="{data_uri(sheet)}" {size} alt="{escaped(f"samples: {name}")}">'


def _told(comparison: Comparison, place: int) -> str:
    """The first metrics of a setting in words."""
    found = ((name, comparison.estimates[name][place]) for name in comparison.metrics)
    numbers = [f"{name} {number(one.value)}" for name, one in found if one is not None][:TOLD]
    return f"{comparison.settings[place].label}: {', '.join(numbers)}"


def _caption(groups: Sequence[Pictures], num_settings: int) -> str:
    seeds = "its seed" if len(groups) == 1 else "one seed"
    chosen = (
        f" At most {MOST_SHOWN} settings stand side by side; choose which."
        if num_settings > MOST_SHOWN
        else ""
    )
    return (
        "<figcaption>Each row starts from one noise and asks for one thing; only the setting changes along"
        f" it. The noise of a sample depends on the seed and its number, so only runs of {seeds}, with the"
        f" same data and autoencoder, share it.{chosen}</figcaption>"
    )


def _blink(comparison: Comparison, places: Sequence[int], group: Pictures) -> str:
    """Two settings over each other; the first and, where one is best at something, that one."""
    height, width = next(iter(group.columns.values())).shape[1:3]
    scale, rows = _scale(height, BLINKED), len(group.rows)
    size = (width * scale + 6) * min(ACROSS, rows) - 6, (height * scale + 6) * -(-rows // ACROSS) - 6
    start, end = places[0], _other(comparison, places)
    data = {"rows": rows, "height": height, "width": width, "gap": GAP, "scale": scale, "across": ACROSS}
    told = " ".join(f'data-{name}="{value:g}"' for name, value in data.items())
    return (
        '<div id="blink">\n<div class="controls">'
        f"{_select(comparison, 'from', 'From', places, start)}{_select(comparison, 'to', 'to', places, end)}"
        '<label>fade <input id="fade" type="range" min="0" max="100" value="0"></label>'
        '<button id="play" type="button" aria-pressed="false">Blink</button></div>\n'
        f'<canvas width="{size[0]:g}" height="{size[1]:g}" {told} role="img"'
        ' aria-label="the samples of the first setting, and over them those of the second"></canvas>\n'
        '<p class="told"><b>from</b> <span id="from-told"></span></p>'
        '<p class="told"><b>to</b> <span id="to-told"></span></p>\n'
        "<figcaption>One setting over the other, sample by sample: move the slider, hold the picture to see"
        " the second, or let it blink.</figcaption></div>"
    )


def _select(comparison: Comparison, name: str, words: str, places: Sequence[int], chosen: int) -> str:
    options = "".join(
        f'<option value="{place}"{" selected" if place == chosen else ""}>'
        f"{escaped(comparison.settings[place].label)}</option>"
        for place in places
    )
    return f'<label>{words} <select id="{name}">{options}</select></label>'


def _other(comparison: Comparison, places: Sequence[int]) -> int:
    """The setting that a distance, or else some metric, is best at; the last one where that is the first."""
    ordered = sorted(comparison.metrics, key=lambda name: comparison.arrow(name) != "↓")
    best = [place for name in ordered for place in sorted(comparison.best[name].places)]
    return next((place for place in best if place in places[1:]), places[-1])


def _scale(height: int, wanted: int) -> float:
    """Whole enlargements of small pictures; a large one is shown at ``LARGEST``."""
    return max(1, wanted // height) if height <= LARGEST else LARGEST / height
