"""Differences in pairs, from the files of finished runs to the section of the page."""

import csv
import re

import numpy as np
import pytest
from run_folders import config_of, leave, metrics_of

from condiff.reports.comparison import Comparison
from condiff.reports.comparison_pairs import signed
from condiff.reports.over_seeds import ALIKE
from condiff.stages.comparison import comparison_of, directions, write_comparison
from condiff.stages.paired_samples import MOST_ROWS, pairs_of
from condiff.stages.run_folders import read_run

HEAD = "<h2>Differences in pairs</h2>"


def hits(*missed, n=40):
    found = np.ones(n, bool)
    found[list(missed)] = False
    return {"class_accuracy": found}


def left(folder, scale, values, seed=0, distance=3.0, **more):
    share = 0.9 if values is None else float(next(iter(values.values())).mean())
    return leave(
        folder / f"{scale}_{seed}", config_of(scale, seed), metrics_of(share, distance), values=values, **more
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


def rows_of(pairs, reference, metric="class_accuracy"):
    """By the place of a setting, its difference from that at ``reference``."""
    return {place: own[metric] for (place, less), own in pairs.found.items() if less == reference}


def test_settings_are_compared_with_the_best_by_the_first_distance_on_the_same_samples(tmp_path):
    folders = [
        left(tmp_path, 3.0, hits(1), distance=4.0),
        left(tmp_path, 1.0, hits(1, 2, 3), distance=3.0),
        left(tmp_path, 2.0, hits(2, 4), distance=2.0),
    ]
    pairs = pairs_of(compared(folders))
    assert pairs.alone == []
    assert pairs.references == [1, 0, 2]  # scale 2 is best, then in their order
    found = rows_of(pairs, 1)
    assert {place: own.hits for place, own in found.items()} == {0: (1, 2), 2: (2, 1)}
    assert (found[2].value, found[2].n) == (1 / 40, 40)
    words = section(page_of(folders, tmp_path / "out"))
    assert "Less <b>scale 2</b>, the setting with the best fd_judge." in words


def test_every_other_setting_can_be_chosen_as_the_reference_and_is_hidden_until_then(tmp_path):
    folders = [left(tmp_path, scale, hits(*range(int(scale)))) for scale in (1.0, 2.0, 3.0)]
    words = section(page_of(folders, tmp_path / "out"))
    shown = re.findall(r'<div class="less" data-reference="(\d)"( hidden)?>', words)
    assert shown == [("0", ""), ("1", " hidden"), ("2", " hidden")]  # by distance all are alike
    assert re.findall(r'<option value="(\d)"( selected)?>', words) == [
        ("0", " selected"),
        ("1", ""),
        ("2", ""),
    ]
    pairs = pairs_of(compared(folders))
    assert rows_of(pairs, 2)[0].value == -rows_of(pairs, 0)[2].value == 2 / 40


def test_seeds_are_one_row_each_less_the_same_seed_of_the_reference(tmp_path):
    """One more miss than the seed says: of 40, seed 0 loses 1 and seed 1 loses 2 by scale 2."""
    folders = [
        left(tmp_path, scale, hits(*range(int(scale - 1) * (1 + seed))), seed, trained=f"seed{seed}")
        for scale in (1.0, 2.0)
        for seed in (0, 1)
    ]
    pairs = pairs_of(compared(folders))
    (found,) = rows_of(pairs, 0).values()
    assert [(pair.run.config["seed"], pair.reference.config["seed"]) for pair in found.pairs] == [
        (0, 0),
        (1, 1),
    ]
    assert [pair.value for pair in found.pairs] == [-1 / 40, -2 / 40]
    assert (found.value, found.num_trainings, found.hits) == (pytest.approx(-1.5 / 40), 2, (0, 3))
    half = 12.706205 * (1 / 40) / 2  # t times the deviation over root 2: of two, half of what they differ by
    assert found.trainings == pytest.approx((-1.5 / 40 - half, -1.5 / 40 + half), rel=1e-6)
    assert section(page_of(folders, tmp_path / "out")).count("<tr data-place=") == 2  # less either


def test_seeds_that_share_a_training_have_no_interval_over_trainings(tmp_path):
    folders = [left(tmp_path, scale, hits(int(scale)), seed) for scale in (1.0, 2.0) for seed in (0, 1)]
    (found,) = rows_of(pairs_of(compared(folders)), 0).values()
    assert (found.num_trainings, found.trainings) == (1, None)
    words = section(page_of(folders, tmp_path / "out"))
    assert "All is of one training" in words
    assert "“seeds” is" not in words


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
    pairs = pairs_of(compared(folders))
    assert {*rows_of(pairs, 0)} == {1}
    assert [(run.config["guidance"]["scale"], told) for run, told in pairs.alone] == [(3.0, why)]
    line = re.findall(r'<p class="told">(.*?)</p>', section(page_of(folders, tmp_path / "out")))
    assert len(line) == 1
    assert line[0].startswith(
        "1 of 3 runs is not compared sample by sample, which takes the same samples: scale 3"
    )
    assert line[0].endswith(f"({why}).")


def test_numbers_of_another_judge_are_not_subtracted(tmp_path):
    other = metrics_of(0.9, 3)
    other["class_accuracy"]["protocol"] = "samples, judge cd"
    folders = [
        left(tmp_path, 1.0, hits(1)),
        leave(tmp_path / "other", config_of(2.0), other, values=hits(2)),
        left(tmp_path, 3.0, hits(3)),
    ]
    pairs = pairs_of(compared(folders))
    assert {*rows_of(pairs, 0)} == {2}
    assert [told for _, told in pairs.alone] == ["measured in another way"]


@pytest.mark.parametrize(
    ("measured", "do"), [(True, "add class_accuracy"), (False, "the same command makes")]
)
def test_without_values_per_sample_one_line_says_why_and_what_to_do(tmp_path, measured, do):
    folders = [left(tmp_path, scale, None) for scale in (1.0, 2.0)]
    for folder in folders if measured else ():
        (folder / "measured").mkdir()
    pairs = pairs_of(compared(folders))
    assert (pairs.found, pairs.alone) == ({}, [])
    page = page_of(folders, tmp_path / "out")
    (line,) = re.findall(r'<p class="told">(.*?)</p>', section(page))
    assert line.startswith("No run here has values per sample, so none is compared sample by sample: ")
    assert do in line
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines()))
    told = {row["metric"]: row["pairing"] for row in rows}
    assert told == {"class_accuracy": pairs.without, "fd_judge": pairs.without, "fd_judge_floor": ""}


def test_distances_are_compared_by_seed_and_accuracy_too_where_it_has_no_values_per_sample(tmp_path):
    """fd_judge falls by 1.0 and 1.2: mean -1.1, deviation 0.1414, half 12.706205 0.1414 / sqrt(2)."""
    folders = [
        leave(
            tmp_path / f"{scale}{seed}",
            config_of(scale, seed),
            metrics_of(0.9, 5 - scale * (1 + seed / 5), interval=0.01),
            trained=f"seed{seed}",
        )
        for scale in (1.0, 2.0)
        for seed in (0, 1)
    ]
    pairs = pairs_of(compared(folders))
    assert pairs.references[0] == 1
    (found,) = rows_of(pairs, 0, "fd_judge").values()
    assert [pair.value for pair in found.pairs] == pytest.approx([-1.0, -1.2])
    half = 12.706205 * 0.1
    assert found.trainings == pytest.approx((-1.1 - half, -1.1 + half), rel=1e-6)
    assert found.samples == pytest.approx((-1.1 - 0.01, -1.1 + 0.01))
    assert found.verdict(False) == "better here"
    words = section(page_of(folders, tmp_path / "out"))
    assert "class_accuracy, fd_judge have no values per sample" in words
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines()))
    assert {row["pairing"] for row in rows if row["guidance.scale"] == "1.0"} == {"by seed", ""}


def test_a_damaged_file_counts_as_none(tmp_path):
    folders = [left(tmp_path, scale, hits(1)) for scale in (1.0, 2.0)]
    (folders[1] / "measured" / "per_sample.safetensors").write_bytes(b"\0" * 9)
    pairs = pairs_of(compared(folders))
    assert pairs.found == {}
    assert [told for _, told in pairs.alone] == ["no other like it", "no values per sample in the cache"]


def test_a_row_tells_the_difference_its_interval_and_the_samples_that_differ(tmp_path):
    measures = np.linspace(0, 1, 40)
    folders = [
        left(tmp_path, 1.0, {**hits(*range(20)), "fd_judge": measures}),
        left(tmp_path, 2.0, {**hits(*range(1, 4)), "fd_judge": measures + np.linspace(0.1, 0.2, 40)}),
    ]
    words = section(page_of(folders, tmp_path / "out"))
    cells = re.findall(r"<td[^>]*>(.*?)</td>", words[words.index('data-reference="0"') :])
    assert cells[:5] == [
        "2",
        '<b>+0.42</b><span class="verdict">better here</span><small>samples [+0.24, +0.57]</small>',
        "17<small>+17 −0</small>",
        '<b>+0.1500</b><span class="verdict">worse here</span><small>samples [+0.1404, +0.1596]</small>',
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


@pytest.mark.slow
def test_two_hundred_runs_are_compared_within_seconds(tmp_path):
    rng = np.random.default_rng(0)
    folders = [
        left(tmp_path, 1 + k / 10, {"class_accuracy": rng.random(500) < 0.8}, seed=k % 2) for k in range(200)
    ]
    comparison = comparison_of([read_run(folder) for folder in folders], "s", "", "")
    many = len(comparison.pairs.references)
    assert many == MOST_ROWS // 200
    assert len(comparison.pairs.found) == many * 99
    words = section(page_of(folders[:60], tmp_path / "out"))
    assert 'class="wide long"' in words
    assert words.count("<tr data-place=") == (MOST_ROWS // 60) * 29


def test_a_difference_has_its_sign():
    assert (signed(0.031, 2), signed(-0.031, 2)) == ("+0.03", "−0.03")


def test_differences_stand_in_the_table_of_results(tmp_path):
    folders = [left(tmp_path, 1.0, hits(1, 2, 3)), left(tmp_path, 2.0, hits(2, 4))]
    page_of(folders, tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines()))
    (row,) = (row for row in rows if row["difference"])
    assert (row["pairing"], row["mean_difference"], row["verdict"]) == ("by sample", row["difference"], ALIKE)
    assert (row["run"], row["metric"], row["less_run"]) == (
        str(folders[0]),
        "class_accuracy",
        str(folders[1]),  # more often right; by distance they are alike
    )
    assert float(row["difference"]) == -1 / 40
    assert float(row["difference_low"]) < 0 < float(row["difference_high"])
    assert row["discordant"] == "3"


def test_a_distance_is_paired_by_sample_where_both_have_its_values_and_by_seed_where_one_has_not(tmp_path):
    noise = np.random.default_rng(0).normal(3, 1, 40)
    new, other, old = (
        leave(
            tmp_path / str(scale),
            config_of(scale),
            metrics_of(0.9, distance, n=40, interval=0.3),
            values={**hits(1), **own},
        )
        for scale, own, distance in (
            (1.0, {"fd_judge": noise}, 3.0),
            (2.0, {"fd_judge": noise + 0.1 + noise / 100}, 3.1),
            (3.0, {}, 3.2),
        )
    )
    words = {}
    for k, folders in enumerate(((new, other), (new, old))):
        comparison = compared(folders)
        (found,) = rows_of(pairs_of(comparison), 0, "fd_judge").values()
        words[found.is_paired] = section(page_of(folders, tmp_path / f"out{k}"))
    assert "fd_judge: each sample counts by how far it moves the distance" in words[True]
    assert "has no values per sample" not in words[True]
    assert "each sample counts" not in words[False]


def test_runs_that_differ_in_the_seed_alone_leave_no_other_out(tmp_path):
    folders = [left(tmp_path, 2.0, hits(seed), seed, trained=f"seed{seed}") for seed in (0, 1, 2)]
    assert pairs_of(compared(folders)).alone == []
    words = page_of(folders, tmp_path / "out")
    assert "not compared sample by sample" not in words
    assert "no other like it" not in words
