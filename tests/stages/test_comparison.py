"""From run folders to the page, its figures and its pictures."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from run_folders import METRICS, config_of, leave, metrics_of, pictures
from safetensors.numpy import save_file

from condiff.reports.comparison import Comparison
from condiff.reports.runs import Run
from condiff.stages.comparison import compare, comparison_of, directions, losses_of, write_comparison
from condiff.stages.run_folders import read_run
from condiff.stages.same_noise import pictures_of, smaller
from condiff.stages.stage import Runtime


@pytest.fixture
def runs(tmp_path):
    """Two scales and two seeds; samples of scale s and seed k are all of brightness 10 s + k."""
    return [
        leave(
            tmp_path / "sweep" / str(2 * place + seed),
            config_of(scale, seed),
            metrics_of(0.9 + scale / 100, 5 - scale + seed / 10),
            ("experiment=study", f"guidance.scale={scale}", f"seed={seed}"),
            pictures(int(10 * scale) + seed),
            trained=f"seed{seed}",
        )
        for place, scale in enumerate((1.0, 2.0))
        for seed in (0, 1)
    ]


def written(folders, out, title="study", question="why?", failed=()):
    path = write_comparison(folders, out, title, question, "python run.py -m experiment=study", failed)
    assert path is not None
    return path.read_text(encoding="utf-8")


def test_a_comparison_leaves_a_page_a_table_and_figures(runs, tmp_path):
    page = written(runs, tmp_path / "out")
    figures = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    names = ("class_accuracy_against_fd_judge", "fd_judge_over_guidance_scale", "loss_denoiser")
    assert {f"{name}.{kind}" for name in names for kind in ("png", "svg")} <= figures
    assert len((tmp_path / "out" / "results.csv").read_text().splitlines()) == 1 + 4 * 3
    assert len(re.findall(r"<tr data-place=", page)) == 2 + 4 + 2  # settings, every run, less either setting
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_the_page_needs_nothing_but_itself(runs, tmp_path):
    page = written(runs, tmp_path / "out")
    assert not re.search(r"https?://|@import|<link|src=\"(?!data:)", page)
    assert re.findall(r"url\((?!#)", page) == []
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]{44}'$", policy)
    assert "unsafe-inline" not in policy.partition("script-src")[2]
    assert page.count("<script") == 1
    identities = re.findall(r'\bid="([^"]*)"', page)
    assert len(identities) == len({*identities})


def test_points_of_a_setting_carry_its_class_and_say_what_they_are(runs, tmp_path):
    page = written(runs, tmp_path / "out")
    assert '<g class="of s1"><title>scale 2: fd_judge 3.050 ± 0.071</title>' in page


def test_the_best_value_is_marked(runs, tmp_path):
    page = written(runs, tmp_path / "out")
    assert re.findall(r'<td class="figure best"[^>]*><b title="the best">([^<]*)</b>', page) == [
        "0.92",
        "3.050",
    ]


PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title></svg><svg onload=alert(1)>",
    "]]><!--<script>",
    "$\\frac{1}{0}$ $x",
    "{curly} % \x1b[31m \u202e",
]


def named(word, folder):
    """What is seen of a page on which everything that a user names is called this."""
    folders = [
        leave(
            folder / str(place),
            {**config_of(scale), "name": f"{word}{place}", "note": f"{word}{place}"},
            {f"{word}_metric": metrics_of(0.9, scale)["fd_judge"], **metrics_of(0.9, scale)},
            images=pictures(place),
        )
        for place, scale in enumerate((1.0, 2.0))
    ]
    return Seen(written(folders, folder / "out", word, word, [(word, word)]))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return named("word", tmp_path_factory.mktemp("plain"))


FIRST = (0, 3, 5)  # of markup, of ends of elements, of what is no markup: the rest are like these


@pytest.mark.parametrize(
    "payload",
    [pytest.param(text, marks=() if at in FIRST else pytest.mark.slow) for at, text in enumerate(PAYLOADS)],
)
def test_names_never_become_markup(payload, plain, tmp_path):
    hostile = named(payload, tmp_path)
    assert hostile.tags == plain.tags
    assert hostile.attributes == plain.attributes
    assert hostile.scripts == 1
    shown = payload.replace("\x1b", "�").replace("\u202e", "�")
    assert shown in " ".join(hostile.words)


class Seen(HTMLParser):
    """What a browser would make of a page: which elements and attributes it has, and its text."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.attributes, self.words, self.scripts = set(), set(), [], 0
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {(tag, name) for name, _ in attrs}
        self.scripts += tag == "script"

    def handle_data(self, data):
        self.words.append(data)


def test_no_secret_reaches_the_page(tmp_path):
    canary = "hunter2xyz"
    folders = [
        leave(
            tmp_path / str(k),
            {**config_of(), "data": {"api_key": f"{canary}{k}", "url": f"https://u:{canary}{k}@host/x"}},
            metrics_of(0.9, k),
            (f"data.api_key={canary}",),
        )
        for k in (1, 2)
    ]
    page = written(folders, tmp_path / "out", failed=[(f"data.api_key={canary} more", "it broke")])
    left = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert canary not in page
    assert not any(canary.encode() in content for content in left)


def test_jobs_that_failed_are_listed(runs, tmp_path):
    page = written(
        runs, tmp_path / "out", failed=[("guidance.scale=9, seed=1", "error[5]: loss: is not finite")]
    )
    assert "1 job failed" in page
    assert "<code>guidance.scale=9, seed=1</code>: error[5]: loss: is not finite" in page


def test_there_is_nothing_to_compare_in_fewer_than_two_finished_runs(runs, tmp_path):
    assert write_comparison(runs[:1], tmp_path / "out", "study", "", "") is None
    (runs[1] / "metrics.json").unlink()
    assert write_comparison(runs[:2], tmp_path / "out", "study", "", "") is None
    assert not (tmp_path / "out").exists()


def test_runs_that_differ_in_nothing_but_the_seed_are_one_setting(tmp_path):
    folders = [
        leave(tmp_path / str(seed), config_of(seed=seed), metrics_of(0.9, 2.0 + seed), images=pictures(1))
        for seed in (0, 1)
    ]
    page = written(folders, tmp_path / "out")
    assert "2 runs that differ in nothing but the seed; seeds 0, 1" in page
    assert "2.50" in page
    assert "± 0.71" in page


def test_directions_are_what_the_classes_say():
    prdc = {"_target_": "condiff.evaluation.precision_recall.PrecisionRecall"}
    memory = {"_target_": "condiff.evaluation.memorisation.Memorisation"}
    score = {"_target_": "condiff.evaluation.inception_score.InceptionScore"}
    control = {"_target_": "condiff.evaluation.paired.PeakSignalNoise", "fake": "sources"}
    metrics = {
        **METRICS, "prdc": prdc, "copies": memory, "is": score, "psnr_unedited": control,
        "psnr": {**control, "fake": "samples"}, "every": 0,
    }  # fmt: skip
    names = (
        "class_accuracy", "fd_judge_biased_n5", "prdc_recall", "copies", "copies_authenticity", "is",
        "is_std", "psnr", "psnr_unedited", "unheard_of",
    )  # fmt: skip
    entry = metrics_of(0.9, 1.0)["fd_judge"]
    run = Run({"metrics": metrics}, dict.fromkeys(names, entry), {})
    assert [directions([run]).get(name) for name in names] == [
        True, False, True, False, True, True, None, True, None, None,
    ]  # fmt: skip


def test_a_training_that_runs_share_is_drawn_once(runs):
    losses = losses_of([read_run(folder) for folder in runs])
    assert [(one.stage, len(one.runs), len(one.rows)) for one in losses] == [("denoiser", 2, 20)] * 2


def test_pictures_of_one_noise_stand_together(runs):
    groups, notes = pictures_of(compared(runs))
    assert notes == []
    assert [group.seed for group in groups] == [0, 1]
    assert {place: int(images[0, 0, 0]) for place, images in groups[1].columns.items()} == {0: 11, 1: 21}
    assert groups[0].rows == [str(k) for k in range(10)]


def compared(folders):
    found = [read_run(folder) for folder in folders]
    return Comparison("study", "", "", found, directions(found))


def test_samples_of_other_data_or_another_size_share_no_noise(runs, tmp_path):
    stages = json.loads((runs[2] / "stages.json").read_text())
    stages["data"]["key"] = "data1"
    (runs[2] / "stages.json").write_text(json.dumps(stages))
    other = leave(tmp_path / "other", config_of(3.0, 1), metrics_of(0.9, 1), images=pictures(1, size=4))
    groups, _ = pictures_of(compared([*runs, other]))
    assert [(group.seed, sorted(group.columns)) for group in groups] == [(1, [0, 1])]


def test_samples_that_are_gone_are_told_and_the_rest_is_shown(runs, tmp_path):
    for folder in runs[::2]:
        (folder / "samples" / "samples.safetensors").unlink()
    page = written(runs, tmp_path / "out")
    assert "The samples of 2 of 4 runs are no longer in the cache" in page
    assert page.count('class="column"') == 2
    for folder in runs[1::2]:
        (folder / "samples" / "samples.safetensors").unlink()
    assert "No two of these runs have samples of the same noise" in written(runs, tmp_path / "none")


def test_large_pictures_are_made_smaller_by_the_mean_of_squares():
    images = np.array([[[0, 2, 9], [4, 6, 9], [1, 1, 1]]], np.uint8)
    assert smaller(images, 2).tolist() == [[[3]]]
    assert smaller(images, 1) is images


def test_the_sources_and_the_answers_of_edits_stand_before_the_samples(runs, tmp_path):
    for folder in runs:
        held = {
            "image": pictures(5),
            "source": pictures(7),
            "target": pictures(9),
            "label": np.zeros(12, np.int64),
        }
        save_file(held, folder / "samples" / "samples.safetensors")
    groups, _ = pictures_of(compared(runs))
    assert {name: int(images[0, 0, 0]) for name, images in groups[0].before.items()} == {
        "to change": 7,
        "true answer": 9,
    }
    assert written(runs, tmp_path / "out").count('class="column given"') == 2 * 2


@pytest.mark.slow
def test_two_hundred_runs_stay_below_ten_megabytes(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (12, 3, 64, 64), dtype=np.uint8)  # no PNG makes it smaller
    folders = [
        leave(
            tmp_path / str(k),
            config_of(1 + k / 10, k % 2),
            metrics_of(rng.random(), rng.random()),
            images=noise,
        )
        for k in range(200)
    ]
    page = written(folders, tmp_path / "out")
    assert len(page.encode()) < 10_000_000
    assert "Pictures of 48 of 100 settings are in the page" in page
    assert "Pictures are shown at 1/2 of their size" in page
    assert page.count('class="column"') == 48
    assert len(re.findall(r'class="column" [^>]*hidden', page)) == 36


def test_a_comparison_imports_no_torch(runs, tmp_path):
    code = (
        "import sys; from pathlib import Path; from condiff.stages.comparison import write_comparison;"
        "assert 'matplotlib' not in sys.modules;"
        f"write_comparison([Path(p) for p in {[str(run) for run in runs]}],"
        f" Path({str(tmp_path / 'out')!r}), 's', '', '');"
        "assert 'matplotlib' in sys.modules; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_same_runs_give_the_same_page(runs, tmp_path):
    assert written(runs, tmp_path / "one") == written(runs, tmp_path / "two")
    assert comparison_of([read_run(folder) for folder in runs], "s", "", "").has_seeds


def test_one_result_in_two_folders_is_one_run(tmp_path):
    """A run that found all of another's in the cache is no second seed, and there is no spread of the two."""
    first = [
        leave(tmp_path / "one" / str(scale), config_of(scale), metrics_of(0.9, scale), trained="d")
        for scale in (1.0, 2.0)
    ]
    again = tmp_path / "two" / "1.0"
    leave(again, config_of(1.0), metrics_of(0.9, 1.0), trained="d")  # its key is that of its folder's name
    page = written([*first, again], tmp_path / "out")
    assert "differ in their seed" not in page
    assert len(re.findall(r"<tr data-place=", page)) == 2 + 2  # settings, and runs
    assert "1 run has the very samples and metrics of another one here" in page
    assert write_comparison([first[0], again], tmp_path / "none", "study", "why?", "python run.py") is None


def test_what_a_sweep_has_not_done_is_told_of_its_runs(runs, tmp_path):
    job = {"overrides": ["guidance.scale=9"], "status": "failed", "error": "diverged <here>"}
    done = {"overrides": ["guidance.scale=1"], "status": "done", "error": ""}
    jobs = [done, job, {**job, "status": "waiting"}, {**job, "status": "running"}]
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps({"jobs": jobs}))
    cfg = {"runs": [str(tmp_path / "sweep")], "name": "study", "question": "why?"}
    compare(cfg, {}, Runtime(), tmp_path / "out")
    page = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert "guidance.scale=9" in page
    assert "diverged &lt;here&gt;" in page
    assert "2 jobs of the sweeps here had not ended" in page
