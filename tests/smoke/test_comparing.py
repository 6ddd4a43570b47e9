"""task=compare from the command line."""

import json

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from run_folders import config_of, leave, metrics_of

from condiff.stages.comparison import _word
from tests.smoke.forks import NO_TORCH
from tests.smoke.test_command_line import told


@pytest.fixture
def folders(tmp_path):
    for place, scale in enumerate((1.0, 2.0)):
        overrides = ("experiment=study", f"guidance.scale={scale}")
        leave(tmp_path / "sweep" / str(place), config_of(scale), metrics_of(0.9, scale), overrides)
    leave(tmp_path / "unlike", config_of(), {"psnr": metrics_of(0.9, 1.0)["fd_judge"]})
    (tmp_path / "empty").mkdir()
    return tmp_path


WRONG = {
    "absent": ("[../sweep/0,../absent]", ["runs[1]: ../absent does not exist"]),
    "nothing": ("[../sweep,'']", ["runs[1]: names nothing; give the folder of a finished run"]),
    "blank": ("' '", ["runs: names nothing; give the folder of a finished run"]),
    "no match": ("[../swept/*]", ["runs[0]: nothing matches ../swept/*; give the folder"]),
    "none": ("[]", ["runs: must name at least two finished runs, got none"]),
    "empty": ("[../empty,../sweep]", ["runs[0]: ../empty has no metrics.json"]),
    "alone": ("[../sweep/0]", ["runs: must name at least two finished runs", "sweep/0 alone"]),
    "twice": ("[../sweep/0,../sweep/0]", ["runs: must name at least two finished runs"]),
    "unlike": ("[../sweep,../unlike]", ["runs[1]: ", "has psnr and the other runs class_accuracy, fd_judge"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_runs_that_cannot_be_compared_are_one_line_and_nothing_is_made(folders, case):
    given, words = WRONG[case]
    code, out, err = told(folders / "cwd", "task=compare", f"runs={given}", without=NO_TORCH)
    (line,) = err.splitlines()
    assert (code, out) == (3, "")
    assert line.startswith("error[3]: ")
    assert all(word in line for word in words), line
    assert not list((folders / "cwd").iterdir())


def test_without_runs_the_key_is_asked_for(tmp_path):
    code, _, err = told(tmp_path / "cwd", "task=compare", without=NO_TORCH)
    assert code == 2
    assert err == "error[2]: runs: is required; give run folders, runs=...\n"


def compared(folders, given, folder):
    """The status of the page; that it was made without torch and how it is told hold for each."""
    argv = ("task=compare", f"runs={given}", "logger.wandb=off", "runtime.cache=../cache")
    code, out, err = told(folders / "cwd", *argv, f"hydra.run.dir={folder}", without=NO_TORCH)
    assert (code, err) == (0, "")
    made = folders / "cwd" / folder
    assert out.splitlines()[-1] == f"comparison: {made / 'comparison.html'}"
    assert "report:" not in out
    assert len((made / "results.csv").read_text().splitlines()) == 1 + 2 * 3
    assert (made / "figures" / "fd_judge_over_guidance_scale.svg").is_file()
    command = f"task=compare &#x27;runs=[{given.strip('[]')}]&#x27;"
    assert command in (made / "comparison.html").read_text()
    assert (made / "config.yaml").is_file()
    return json.loads((made / "stages.json").read_text())["comparison"]["status"]


def test_runs_are_compared_without_torch_and_found_again_until_one_changes(folders):
    assert [compared(folders, "[../sweep]", folder) for folder in ("one", "two")] == ["run", "cached"]
    metrics = folders / "sweep" / "0" / "metrics.json"
    metrics.write_text(json.dumps(metrics_of(0.5, 1.0)))
    assert compared(folders, "[../sweep]", "three") == "run"
    assert "0.5" in (folders / "cwd" / "three" / "results.csv").read_text()


@pytest.mark.parametrize("given", ["../sweep", "[../sweep/*]", "[../sweep/0,../sweep/1]"])
def test_a_sweep_its_runs_and_what_matches_them_are_the_same_runs(folders, given):
    assert compared(folders, given, "page") == "run"


ODD = (
    "a b=c,d ü/x#y%41",
    "it's",
    "a\\",
    "\\'",
    "[x]",
    "5",
    "1e5",
    "null",
    "TRUE",
    "nan",
    "../sweep/*",
    "a.b-c",
    "~x",
    "",
)


@pytest.mark.parametrize("name", ODD)
def test_the_command_of_a_page_names_the_same_runs_again(name):
    parsed = OverridesParser.create().parse_override(f"runs=[{_word(name)},../b]")
    assert parsed.value() == [name, "../b"]
