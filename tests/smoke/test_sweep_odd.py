"""Sweeps over studies, with secrets, in odd folders, and without a single success."""

import csv
import json

import pytest

from condiff.stages import samples
from tests.smoke.conftest import DRAWN, LATENT, TINY, jobs
from tests.smoke.forks import NO_TORCH
from tests.smoke.test_command_line import told

ODD = "a b=c,d 'é' ü/x#y%41 [z]"


def quoted(path):
    return "'" + path.replace("'", r"\'") + "'"


@pytest.mark.slow
def test_a_study_is_an_axis(sweep, tmp_path):
    (tmp_path / "more" / "experiment").mkdir(parents=True)
    other = "# @package _global_\ndefaults: [cfg_latent]\nname: other\nguidance: {scale: 3}\n"
    (tmp_path / "more" / "experiment" / "other.yaml").write_text(other)
    folders = ("--config-dir", str(tmp_path / "more"))
    code, folder = sweep("experiment=cfg_latent,other", "name=both", "seed=21", *folders)
    assert (code, folder.parent.name) == (0, "both")
    one, two = jobs(folder)
    assert one["overrides"][0] == "experiment=cfg_latent"
    assert two["overrides"][0] == "experiment=other"
    assert one["keys"]["denoiser"] == two["keys"]["denoiser"]
    assert one["keys"]["samples"] != two["keys"]["samples"]
    rows = list(csv.DictReader((folder / "results.csv").open()))
    assert {row["guidance.scale"] for row in rows} == {"2.0", "3.0"}  # all in which the studies differ


def test_a_secret_in_an_override_is_in_no_file_of_the_sweep(sweep, capsys):
    code, folder = sweep(
        "question='token=SECRET1','https://me:SECRET2@host/x'", "guidance.scale=1,2", "seed=22"
    )
    assert code == 0
    written = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png"]
    assert {"sweep.json", "results.csv", "comparison.html", "overrides.json", "report.html"} <= {
        path.name for path in written
    }
    assert [path for path in written if b"SECRET" in path.read_bytes()] == []
    said = capsys.readouterr()
    assert "SECRET" not in said.out + said.err
    assert all("***" in " ".join(job["overrides"]) for job in jobs(folder))


@pytest.mark.slow
def test_the_folder_of_a_sweep_may_have_any_name(sweep, tmp_path):
    where = f"hydra.sweep.dir={quoted(ODD)}"
    for words in ((), ("hydra/launcher=processes",)):
        code, _ = sweep("guidance.scale=1,2", "seed=23", where, *words)
        assert code == 0
        assert [job["status"] for job in jobs(tmp_path / ODD)] == ["done", "done"]
        ledger = json.loads((tmp_path / ODD / "sweep.json").read_text())
        ledger["jobs"][0]["status"] = "failed"  # so that the next goes on with it, in another process
        (tmp_path / ODD / "sweep.json").write_text(json.dumps(ledger))
    assert {path.name for path in tmp_path.iterdir()} == {ODD.partition("/")[0]}
    assert {"comparison.html", "results.csv", "figures"} <= {path.name for path in (tmp_path / ODD).iterdir()}
    assert (tmp_path / ODD / "0" / "output.log").is_file()
    compare = ("task=compare", f"runs=[{quoted(ODD)}]", "logger.wandb=off", "hydra.run.dir=page")
    code, _, err = told(tmp_path, *compare, "runtime.cache=cache", without=NO_TORCH)
    assert (code, err) == (0, "")
    assert (tmp_path / "page" / "comparison.html").is_file()


def test_a_sweep_in_which_nothing_succeeds_ends_with_its_table(sweep, monkeypatch, capsys):
    def fail(*_):
        raise ValueError("not today")

    monkeypatch.setattr(samples, "draw", fail)
    code, folder = sweep("guidance.scale=1,2", "seed=24")
    out = capsys.readouterr().out
    assert code == 9
    assert [line.split()[:3] for line in out.splitlines() if "not today" in line] == [
        ["0", "guidance.scale=1", "1"],
        ["1", "guidance.scale=2", "1"],
    ]
    assert f"ledger: {folder / 'sweep.json'}" in out
    assert "comparison: none; it is of two jobs or more that are done and measured" in out
    assert not (folder / "comparison.html").exists()


TOO_MANY = "runtime.devices: must be at most 0, the number of GPUs that torch sees, got 2; use fewer, or"
GPUS = ("-m", *TINY, *DRAWN, "runtime.devices=1,2", "runtime.accelerator=gpu", "hydra.sweep.dir=here")


@pytest.mark.slow
def test_more_devices_than_there_are_is_one_line_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code, out, err = told(tmp_path / "cwd", *GPUS)
    (line,) = err.splitlines()
    assert (code, out) == (2, "")
    assert line.startswith(f"error[2]: {TOO_MANY}")
    assert not list((tmp_path / "cwd").iterdir())


REFUSED = {
    "interval": (2, ["hydra/sweeper=optuna", "guidance.scale=interval(8,1)"], "interval(1,8)"),
    "logarithm": (2, ["hydra/sweeper=optuna", "guidance.scale=tag(log,interval(0,8))"], "must be above 0"),
    "range": (2, ["hydra/sweeper=optuna", "sampler.steps=range(5,1)"], "range(1,5)"),
    "integers": (2, ["hydra/sweeper=optuna", "sampler.steps=interval(1,8)"], "int(interval(1,8))"),
    "slurm": (2, ["guidance.scale=1,2", "hydra/launcher=slurm"], "sbatch and srun were not found"),
    "ray": (6, ["guidance.scale=1,2", "hydra/launcher=ray"], 'pip install -e ".[ray]"'),
    "optuna": (6, ["guidance.scale=1,2", "hydra/sweeper=optuna"], 'pip install -e ".[sweep]"'),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_sweep_that_cannot_begin_is_one_line_before_anything_is_made(tmp_path, monkeypatch, case):
    code, words, said = REFUSED[case]
    monkeypatch.setenv("PATH", str(tmp_path))
    argv, missing = ("-m", *TINY, *LATENT, *words, "hydra.sweep.dir=here"), ("ray", "optuna")
    got, out, err = told(tmp_path / "cwd", *argv, without=(*NO_TORCH, *(missing if code == 6 else ())))
    (line,) = err.splitlines()
    assert (got, out) == (code, "")
    assert said in line
    assert not list((tmp_path / "cwd").iterdir())


@pytest.mark.slow
def test_a_job_elsewhere_that_has_too_few_devices_fails_and_its_log_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    elsewhere = ("hydra/launcher=slurm", "hydra.launcher.cluster=local", "hydra.launcher.gpus=0")
    code, _, err = told(tmp_path / "cwd", *GPUS, f"runtime.cache={tmp_path / 'cache'}", *elsewhere)
    assert code == 9, err
    second = jobs(tmp_path / "cwd" / "here")[1]
    assert (second["code"], second["status"]) == (2, "failed")
    assert second["error"].startswith(f"error[2]: {TOO_MANY}")
    assert second["error"] in (tmp_path / "cwd" / "here" / "1" / "run.log").read_text()
