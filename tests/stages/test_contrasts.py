"""A choice against another at the same value of all else, from the files of finished runs to the page."""

import csv
import re

from run_folders import config_of, leave, metrics_of

from condiff.reports.comparison_axes import contrasts
from condiff.stages.comparison import comparison_of
from condiff.stages.run_folders import read_run
from tests.stages.test_paired_samples import hits, page_of, section


def ruled(folder, rule, scale, values, seed=0, **more):
    config = config_of(scale, seed, {"cfg": "ClassifierFree", "cfg_interval": "Interval"}[rule])
    numbers = metrics_of(float(values["class_accuracy"].mean()), more.pop("distance", 3.0), interval=0.5)
    return leave(
        folder / f"{rule}{scale}_{seed}", config, numbers, (f"guidance={rule}",), values=values, **more
    )


def test_a_choice_is_compared_with_the_first_at_each_common_value_of_the_others(tmp_path):
    """cfg at 1, 2, 3 and cfg_interval at 2, 3, 4: two common scales; at 2 seven are lost, at 3 none."""
    missed = {("cfg", 2.0): (1,), ("cfg_interval", 2.0): (1, 2, 3, 4, 5, 6, 7, 8)}
    cells = [("cfg", 1.0), ("cfg", 2.0), ("cfg", 3.0)] + [("cfg_interval", s) for s in (2.0, 3.0, 4.0)]
    folders = [ruled(tmp_path, *one, hits(*missed.get(one, (9,))), distance=2.0 + one[1]) for one in cells]
    comparison = comparison_of([read_run(folder) for folder in folders], "s", "", "")
    (contrast,) = contrasts(comparison)
    assert (contrast.title, contrast.held) == ("cfg_interval less cfg", "at the same guidance.scale")
    labels = [setting.label for setting in comparison.settings]
    assert {name: [labels[place] for place in places] for name, places in contrast.at.items()} == {
        "scale 2": ["cfg_interval, scale 2", "cfg, scale 2"],
        "scale 3": ["cfg_interval, scale 3", "cfg, scale 3"],
    }
    words = section(page_of(folders, tmp_path / "out"))
    block = words[words.index("<h3>cfg_interval less cfg, at the same guidance.scale</h3>") :]
    rows = re.findall(r"<tr data-place=.*?</tr>", block.partition("</table>")[0])
    verdicts = [re.findall(r'class="verdict">([^<]*)<', row) for row in rows]
    assert verdicts == [["worse here", "the same"], ["the same", "the same"]]
    assert "−0.17" in rows[0]


def test_what_is_said_at_the_same_scale_stands_in_the_table_of_results(tmp_path):
    folders = [
        ruled(tmp_path, rule, scale, hits(*range(miss)), distance=2.0 + scale)
        for rule, miss in (("cfg", 1), ("cfg_interval", 9))
        for scale in (1.0, 2.0)
    ]
    page_of(folders, tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines()))
    own = [row for row in rows if row["metric"] == "class_accuracy"]
    assert [(row["guidance_less"], row["guidance_difference"], row["guidance_verdict"]) for row in own] == [
        ("", "", ""),
        ("", "", ""),
        ("cfg", "-0.2", "worse here"),
        ("cfg", "-0.2", "worse here"),
    ]
