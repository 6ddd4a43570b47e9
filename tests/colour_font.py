"""A colour font of a few pictures, as Noto Color Emoji is built."""

import io
from pathlib import Path

from fontTools.feaLib.builder import addOpenTypeFeaturesFromString
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib import newTable
from fontTools.ttLib.tables._g_l_y_f import Glyph
from fontTools.ttLib.tables.BitmapGlyphMetrics import SmallGlyphMetrics
from fontTools.ttLib.tables.C_B_D_T_ import cbdt_bitmap_format_17
from fontTools.ttLib.tables.E_B_L_C_ import SbitLineMetrics, Strike, eblc_index_sub_table_1
from PIL import Image

WIDTH, HEIGHT, EM = 136, 128, 109


def write_font(path: Path, colours: dict[str, str]) -> None:
    """One plain picture for every sequence of characters, by ligature where there are several."""
    singles = sorted({ord(character) for characters in colours for character in characters})
    glyphs = {code: f"u{code:04X}" for code in singles}
    names = {
        characters: "_".join(glyphs[ord(character)] for character in characters) for characters in colours
    }
    order = [".notdef", *sorted({*glyphs.values(), *names.values()})]
    builder = FontBuilder(unitsPerEm=2048, isTTF=True)
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap(glyphs)
    builder.setupGlyf({name: Glyph() for name in order})
    builder.setupHorizontalMetrics({name: (2550, 0) for name in order})
    builder.setupHorizontalHeader(ascent=1900, descent=-500)
    builder.setupNameTable({"familyName": "Small Color Emoji", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    joined = [f"sub {name.replace('_', ' ')} by {name};" for name in names.values() if "_" in name]
    addOpenTypeFeaturesFromString(builder.font, f"feature ccmp {{ {' '.join(joined)} }} ccmp;")
    _add_pictures(builder, {names[characters]: colour for characters, colour in colours.items()}, order)
    builder.save(path)


def _add_pictures(builder: FontBuilder, colours: dict[str, str], order: list[str]) -> None:
    """Tables CBDT and CBLC with one strike."""
    shown = sorted(colours, key=order.index)
    data, places = newTable("CBDT"), newTable("CBLC")
    data.version = places.version = 3.0
    data.strikeData = [{name: _picture(colours[name], builder.font) for name in shown}]
    strike = Strike()
    size = strike.bitmapSizeTable
    size.hori, size.vert = _metrics(), _metrics()
    size.colorRef = 0
    size.ppemX = size.ppemY = EM
    size.bitDepth, size.flags = 32, 1
    size.startGlyphIndex, size.endGlyphIndex = order.index(shown[0]), order.index(shown[-1])
    for name in shown:
        part = eblc_index_sub_table_1(None, builder.font)
        part.indexFormat, part.imageFormat, part.imageDataOffset = 1, 17, 0
        part.firstGlyphIndex = part.lastGlyphIndex = order.index(name)
        part.names, part.locations = [name], [(0, 0)]
        strike.indexSubTables.append(part)
    places.strikes = [strike]
    builder.font["CBDT"], builder.font["CBLC"] = data, places


def _picture(colour: str, font) -> cbdt_bitmap_format_17:
    file = io.BytesIO()
    Image.new("RGBA", (WIDTH, HEIGHT), colour).save(file, "PNG")
    found = cbdt_bitmap_format_17(None, font)
    found.metrics = SmallGlyphMetrics()
    found.metrics.height, found.metrics.width = HEIGHT, WIDTH
    found.metrics.BearingX, found.metrics.BearingY, found.metrics.Advance = 0, 101, WIDTH
    found.imageData = file.getvalue()
    return found


def _metrics() -> SbitLineMetrics:
    found = SbitLineMetrics()
    for name in (
        "caretSlopeNumerator",
        "caretSlopeDenominator",
        "caretOffset",
        "minOriginSB",
        "minAdvanceSB",
        "maxBeforeBL",
        "minAfterBL",
        "pad1",
        "pad2",
    ):
        setattr(found, name, 0)
    found.ascender, found.descender, found.widthMax = 101, -27, WIDTH
    return found
