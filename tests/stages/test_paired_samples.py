"""Differences in pairs, from the files of finished runs to the section of the page."""

import csv
import re

import numpy as np
import pytest
from run_folders import config_of, leave, metrics_of

from condiff.reports.comparison import Comparison
from condiff.reports.comparison_pairs import signed
from condiff.stages.comparison import comparison_of, directions, write_comparison
from condiff.stages.paired_samples import pairs_of
from condiff.stages.run_folders import read_run

HEAD = "<h2>Differences in pairs</h2>"


def hits(*missed, n=40):
    found = np.ones(n, bool)
    found[list(missed)] = False
    return {"class_accuracy": found}


def left(folder, scale, values, seed=0, **more):
    share = 0.9 if values is None else float(next(iter(values.values())).mean())
    return leave(
        folder / f"{scale}_{seed}", config_of(scale, seed), metrics_of(share, 3), values=values, **more
    )


def compared(folders):
    runs = [read_run(folder) for folder in folders]
    return Comparison("study", "", "", runs, directions(runs))


def page_of(folders, out):
    path = write_comparison(folders, out, "study", "why?", "python run.py")
    assert path is not None
    return path.read_text(encoding="utf-8")


def section(page):
    return page[page.index(HEAD) :].partition("<section")[0]


def test_each_run_is_compared_with_the_first_setting_on_the_same_samples(tmp_path):
    folders = [
        left(tmp_path, 3.0, hits(1)),
        left(tmp_path, 1.0, hits(1, 2, 3)),  # first by its scale
        left(tmp_path, 2.0, hits(2, 4)),
    ]
    (one,), alone = pairs_of(compared(folders))
    assert alone == []
    assert (one.reference.config["guidance"]["scale"], one.n) == (1.0, 40)
    found = {run.config["guidance"]["scale"]: own["class_accuracy"] for run, own in one.rows}
    assert {scale: (own.gained, own.lost) for scale, own in found.items()} == {2.0: (2, 1), 3.0: (2, 0)}
    assert found[3.0].value == 2 / 40


def test_every_seed_has_a_reference_of_its_own(tmp_path):
    folders = [
        left(tmp_path, scale, hits(*range(int(scale) + seed)), seed)
        for scale in (1.0, 2.0)
        for seed in (0, 1)
    ]
    groups, _ = pairs_of(compared(folders))
    assert [
        (one.reference.config["seed"], [run.config["seed"] for run, _ in one.rows]) for one in groups
    ] == [
        (0, [0]),
        (1, [1]),
    ]
    words = section(page_of(folders, tmp_path / "out"))
    assert "<b>scale 1</b> of the same seed, the first setting" in words
    assert words.count("<tr data-place=") == 2


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"seed": 1}, "another seed"),
        ({"asked": "letters"}, "other conditions"),
        ({"values": hits(1, n=30)}, "another number of samples"),
        ({"values": None}, "no values per sample in the cache"),
    ],
)
def test_runs_on_other_samples_are_not_compared_and_one_line_says_why(tmp_path, other, why):
    folders = [left(tmp_path, scale, hits(1)) for scale in (1.0, 2.0)]
    folders.append(left(tmp_path, 3.0, **{"values": hits(1), **other}))
    (one,), alone = pairs_of(compared(folders))
    assert [run.config["guidance"]["scale"] for run, _ in one.rows] == [2.0]
    assert [(run.config["guidance"]["scale"], told) for run, told in alone] == [(3.0, why)]
    line = re.findall(r'<p class="told">(.*?)</p>', section(page_of(folders, tmp_path / "out")))
    assert len(line) == 1
    assert line[0].startswith("1 of 3 runs is not compared in pairs, which takes the same samples: scale 3")
    assert line[0].endswith(f"({why}).")


def test_numbers_of_another_judge_are_not_subtracted(tmp_path):
    other = metrics_of(0.9, 3)
    other["class_accuracy"]["protocol"] = "samples, judge cd"
    folders = [
        left(tmp_path, 1.0, hits(1)),
        leave(tmp_path / "other", config_of(2.0), other, values=hits(2)),
        left(tmp_path, 3.0, hits(3)),
    ]
    (one,), alone = pairs_of(compared(folders))
    assert [run.config["guidance"]["scale"] for run, _ in one.rows] == [3.0]
    assert [told for _, told in alone] == ["measured in another way"]


def test_without_values_per_sample_there_is_no_such_section(tmp_path):
    folders = [left(tmp_path, scale, None) for scale in (1.0, 2.0)]
    assert pairs_of(compared(folders)) == ([], [])
    page = page_of(folders, tmp_path / "out")
    assert HEAD not in page
    assert "can be compared more finely" not in page  # nothing is near the best here


def test_a_damaged_file_counts_as_none(tmp_path):
    folders = [left(tmp_path, scale, hits(1)) for scale in (1.0, 2.0)]
    (folders[1] / "measured" / "per_sample.safetensors").write_bytes(b"\0" * 9)
    groups, alone = pairs_of(compared(folders))
    assert groups == []
    assert [told for _, told in alone] == ["no other like it", "no values per sample in the cache"]


def test_a_row_tells_the_difference_its_interval_and_the_samples_that_differ(tmp_path):
    measures = np.linspace(0, 1, 40)
    folders = [
        left(tmp_path, 1.0, {**hits(*range(20)), "fd_judge": measures}),
        left(tmp_path, 2.0, {**hits(*range(1, 4)), "fd_judge": measures + np.linspace(0.1, 0.2, 40)}),
    ]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", section(page_of(folders, tmp_path / "out")))
    assert cells == [
        "2",
        '<b title="better than the reference">+0.42</b><small>[+0.24, +0.57]</small>',
        "17<small>+17 −0</small>",
        '<b title="worse than the reference">+0.1500</b><small>[+0.1404, +0.1596]</small>',
        "40",
    ]


def test_names_in_the_section_never_become_markup(tmp_path):
    word = "<img src=x onerror=alert(1)>"
    folders = [
        leave(
            tmp_path / str(place),
            {**config_of(1.0, seed=word if place == 3 else 0), "note": f"{word}{place}"},
            {word: metrics_of(0.9, 3)["fd_judge"], **metrics_of(0.9, 3)},
            values={word: np.arange(40) + place, **hits(place)},
        )
        for place in range(4)
    ]
    words = section(page_of(folders, tmp_path / "out"))
    assert "<img" not in words
    assert words.count("&lt;img") > 4


def test_two_hundred_runs_are_compared_within_seconds(tmp_path):
    rng = np.random.default_rng(0)
    folders = [
        left(tmp_path, 1 + k / 10, {"class_accuracy": rng.random(500) < 0.8}, seed=k % 2) for k in range(200)
    ]
    comparison = comparison_of([read_run(folder) for folder in folders], "s", "", "")
    assert [len(one.rows) for one in comparison.pairs] == [99, 99]
    words = section(page_of(folders[:60], tmp_path / "out"))
    assert 'class="wide long"' in words
    assert words.count("<tr data-place=") == 58


def test_a_difference_has_its_sign():
    assert (signed(0.031, 2), signed(-0.031, 2)) == ("+0.03", "−0.03")


def test_differences_stand_in_the_table_of_results(tmp_path):
    folders = [left(tmp_path, 1.0, hits(1, 2, 3)), left(tmp_path, 2.0, hits(2, 4))]
    page_of(folders, tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines()))
    (row,) = (row for row in rows if row["difference"])
    assert (row["run"], row["metric"], row["less_run"]) == (
        str(folders[1]),
        "class_accuracy",
        str(folders[0]),
    )
    assert float(row["difference"]) == 1 / 40
    assert float(row["difference_low"]) < 0 < float(row["difference_high"])
    assert row["discordant"] == "3"
