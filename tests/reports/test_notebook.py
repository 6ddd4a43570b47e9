"""A study's table says what its runs say."""

import csv

import pytest

from condiff.reports.notebook import curve, over_steps, refuse_mixture, results, table
from condiff.reports.runs import Run


def made(scale, seed, value, steps=16):
    config = {"seed": seed, "guidance": {"scale": scale}, "sampler": {"steps": steps}, "runtime": {"x": seed}}
    metric = {"value": value, "n": 500, "protocol": "p", "interval": None}
    floor = {**metric, "value": 1.0, "interval": [0.5, 1.5]}
    return Run(config, {"fd": metric, "fd_floor": floor}, {"metrics": {"key": f"k{scale}{seed}"}})


RUNS = [made(2.0, 1, 5.0), made(1.0, 0, 8.0), made(2.0, 0, 3.0)]


def test_the_table_has_mean_and_deviation_over_seeds():
    lines = table(RUNS, "guidance.scale").splitlines()
    assert lines[0] == "| guidance.scale | seeds | fd | fd_floor |"
    assert lines[2:] == ["| 1 | 1 | 8 | 1 |", "| 2 | 2 | 4 ± 1.414 | 1 |"]


def test_a_number_that_some_runs_lack_is_missing_there_only():
    run = made(1.0, 0, 9.0)
    few = Run(
        run.config, {"fd_biased_n5": run.metrics["fd"], "fd_floor": run.metrics["fd_floor"]}, run.stages
    )
    lines = table([few, RUNS[0]], "guidance.scale").splitlines()
    assert lines[0] == "| guidance.scale | seeds | fd_biased_n5 | fd_floor | fd |"
    assert lines[2:] == ["| 1 | 1 | 9 | 1 | – |", "| 2 | 1 | – | 1 | 5 |"]


def test_every_number_stands_in_the_csv_with_the_key_it_was_measured_from():
    rows = list(csv.DictReader(results(RUNS, "guidance.scale").splitlines()))
    assert len(rows) == 6
    assert [row["metrics_key"] for row in rows[::2]] == ["k1.00", "k2.00", "k2.01"]
    assert (rows[1]["metric"], rows[1]["low"], rows[0]["low"]) == ("fd_floor", "0.5", "")


def chosen(name, value):
    run = made(1.0, 0, value)
    config = {**run.config, "guidance": {"_target_": name}, "stages": [name]}
    return Run(config, run.metrics, run.stages, ["experiment=x", f"guidance={name}"])


def test_choices_of_a_group_stand_in_the_order_they_were_run_in():
    runs = [chosen("none", 8.0), chosen("cfg", 3.0), chosen("apg", 2.0)]
    refuse_mixture(runs, "guidance")
    lines = table(runs, "guidance").splitlines()
    assert lines[0] == "| guidance | seeds | fd | fd_floor |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| none", "| cfg", "| apg"]
    assert results(runs, "guidance").splitlines()[1].startswith("none,0,fd,8.0")


def test_the_curve_shows_the_floor():
    assert "held-out real pictures" in curve(RUNS, "guidance.scale", "fd")


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([], "no finished runs"),
        ([*RUNS, made(3.0, 0, 1.0, steps=8)], "sampler.steps"),
        ([*RUNS, made(2.0, 0, 4.0)], "same guidance.scale and seed"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(runs, said):
    with pytest.raises(ValueError, match=said):
        refuse_mixture(runs, "guidance.scale")


def test_runs_of_one_study_belong_together():
    refuse_mixture(RUNS, "guidance.scale")


def test_a_fidelity_over_steps_lies_between_its_ceiling_and_its_floor():
    rows = [{"step": 2 * k, "iou": 0.2 * k, "iou_real": 1.0, "iou_shuffled": 0.2} for k in (1, 2, 3)]
    text = over_steps([{"step": 1, "loss": 3.0}, *rows], "iou")
    assert all(name in text for name in (">iou<", "real pictures", "hints of others"))
    assert "real pictures" not in over_steps([{"step": 2, "iou": 0.5}, {"step": 4, "iou": 0.6}], "iou")
