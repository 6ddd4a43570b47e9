"""What a sweep says to wandb."""

import json

import pytest

from condiff.stages.loggers.sweep import (
    best,
    charts,
    front,
    log_sweep,
    metrics_of,
    over_seeds,
    trades,
    varied,
)
from tests.stages.loggers.conftest import lines, records

AXES = ["guidance", "guidance.scale"]
NAMES = [*AXES, "class_accuracy", "fd_judge", "fd_judge/n", "fd_judge_floor"]
VALUES = [
    ["cfg", 1.0, 0.90, 5.3, 500, 1.1],
    ["cfg", 1.5, 0.98, 2.9, 500, 1.1],
    ["cfg", 2.0, 0.99, 3.9, 500, 1.1],
    ["apg", 1.0, 0.90, 5.4, 500, 1.1],
    ["apg", 2.0, 0.97, 3.0, 500, 1.1],
]
ROWS = [dict(zip(NAMES, values, strict=True)) for values in VALUES]


def test_the_front_is_what_no_other_row_beats_in_both():
    """By hand: 1.5 beats all but scale 2, which alone is more accurate."""
    assert front(ROWS, "class_accuracy", "fd_judge") == [ROWS[1], ROWS[2]]
    assert front(ROWS[3:], "class_accuracy", "fd_judge") == [ROWS[4]]
    assert front([], "class_accuracy", "fd_judge") == []


def test_a_tie_in_one_number_is_decided_by_the_other():
    rows = [{"a": 1.0, "d": 2.0}, {"a": 1.0, "d": 1.0}, {"a": 0.5, "d": 1.0}]
    assert front(rows, "a", "d") == [rows[1]]


def test_counts_and_floors_measure_no_setting():
    assert metrics_of(ROWS, AXES) == ["class_accuracy", "fd_judge"]


def test_an_axis_is_one_where_a_number_varies():
    assert varied(ROWS, AXES) == ["guidance.scale"]
    assert varied(ROWS[:1], AXES) == []


def test_more_accuracy_is_traded_for_less_distance_and_never_with_itself():
    assert trades(["class_accuracy", "fd_judge", "kid_judge", "lr"]) == [
        ("class_accuracy", "fd_judge"),
        ("class_accuracy", "kid_judge"),
    ]


def test_the_best_of_each_metric_is_named_with_its_setting():
    assert best(ROWS, AXES) == {
        "best/class_accuracy": 0.99,
        "best/class_accuracy/at": "guidance=cfg, guidance.scale=2.0",
        "best/fd_judge": 2.9,
        "best/fd_judge/at": "guidance=cfg, guidance.scale=1.5",
    }


def test_a_sweep_is_a_table_a_curve_for_each_metric_and_a_front():
    found = charts(ROWS, AXES)
    assert list(found) == [
        "sweep",
        "class_accuracy over guidance.scale",
        "fd_judge over guidance.scale",
        "fd_judge against class_accuracy",
        "fd_judge against class_accuracy, front",
    ]
    assert found["sweep"].columns == [*AXES, "class_accuracy", "fd_judge"]
    assert len(found["sweep"].data) == 5
    curve = found["fd_judge over guidance.scale"].table
    assert curve.columns == ["guidance.scale", "fd_judge", "line", "guidance"]
    assert [row[:3] for row in curve.data] == [
        [1.0, 5.3, "guidance=cfg"],
        [1.5, 2.9, "guidance=cfg"],
        [2.0, 3.9, "guidance=cfg"],
        [1.0, 5.4, "guidance=apg"],
        [2.0, 3.0, "guidance=apg"],
    ]
    assert [row[:2] for row in found["fd_judge against class_accuracy, front"].table.data] == [
        [0.98, 2.9],
        [0.99, 3.9],
    ]


def fd_of(guidance, steps, scale, seed):
    return scale + 10 * (guidance == "apg") + steps / 100 + (seed - 1) / 2


THREE = ["seed", "guidance", "guidance.scale", "sampler.steps"]
GRID = [
    {**dict(zip(THREE, (seed, rule, scale, steps), strict=True)), "fd_judge": fd_of(rule, steps, scale, seed)}
    for seed in (0, 1)
    for scale in (2.0, 1.0)
    for rule in ("cfg", "apg")
    for steps in (8, 16)
]


def test_a_curve_has_a_line_for_each_combination_of_the_other_axes_and_none_over_the_seed(settings, tmp_path):
    """Read back from the disk: means of seed 0, which is half below, and seed 1, to which is added 0."""
    log_sweep(settings, "sweep8", "small", tmp_path, GRID, THREE)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    records(folder, "run")  # once all is written
    tables = [json.loads(path.read_text()) for path in (folder / "files").rglob("*.table.json")]
    curves = {tuple(table["columns"][:2]): table for table in tables if "line" in table["columns"]}
    assert {*curves} == {("guidance.scale", "fd_judge"), ("sampler.steps", "fd_judge")}
    lines_of = {}
    for x, y, line, *_ in curves["guidance.scale", "fd_judge"]["data"]:
        lines_of.setdefault(line, []).append((x, round(y, 9)))
    assert lines_of == {
        f"guidance={rule}, sampler.steps={steps}": [
            (scale, round(fd_of(rule, steps, scale, 1) - 0.25, 9)) for scale in (1.0, 2.0)
        ]
        for rule in ("cfg", "apg")
        for steps in (8, 16)
    }
    assert [row[2] for row in curves["sampler.steps", "fd_judge"]["data"][:2]] == 2 * [
        "guidance=cfg, guidance.scale=2.0"
    ]
    summary = {k: v for part in records(folder, "summary") for k, v in part["update"].items()}
    assert summary["best/fd_judge"] == pytest.approx(1.08 - 0.25)
    assert summary["best/fd_judge/at"] == "guidance=cfg, guidance.scale=1.0, sampler.steps=8"


def test_settings_of_which_no_two_share_a_line_are_points():
    """As a search leaves them."""
    found = [{"guidance.scale": 1.0 + k / 7, "sampler.steps": 8 + k, "fd_judge": 3.0 + k} for k in range(4)]
    curve = charts(found, ["guidance.scale", "sampler.steps"])["fd_judge over guidance.scale"]
    assert "scatter" in curve.spec.spec_name
    assert len(curve.table.data) == 4


def test_the_mean_over_seeds_is_of_those_that_have_the_number():
    rows = [{"seed": k, "guidance.scale": 1.0, "fd_judge": value} for k, value in enumerate((1.0, None, 4.0))]
    assert over_seeds(rows, ["seed", "guidance.scale"]) == [{"guidance.scale": 1.0, "fd_judge": 2.5}]


def test_a_job_without_a_number_is_in_the_table_and_on_no_curve():
    rows = [*ROWS, {"guidance": "cfg", "guidance.scale": 8.0}]
    found = charts(rows, AXES)
    assert len(found["sweep"].data) == 6
    assert len(found["fd_judge over guidance.scale"].table.data) == 5


def test_a_sweep_is_one_run_in_the_group_of_its_jobs(settings, tmp_path, caplog):
    log_sweep(settings, "sweep7", "small", tmp_path, ROWS, AXES)
    assert lines(caplog) == []
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (run,) = records(folder, "run")
    assert (run["job_type"], run["run_group"], run["display_name"]) == ("sweep", "sweep7", "small sweep")
    summary = {k: v for part in records(folder, "summary") for k, v in part["update"].items()}
    assert summary["best/fd_judge"] == 2.9
    (table,) = (folder / "files" / "media" / "table").glob("sweep_*.json")
    assert json.loads(table.read_text())["data"][1] == ["cfg", 1.5, 0.98, 2.9]


def test_a_sweep_that_cannot_be_logged_costs_a_line(settings, tmp_path, caplog):
    (tmp_path / "wandb").write_text("in the way")
    log_sweep({**settings, "required": True}, "sweep7", "small", tmp_path, ROWS, AXES)
    (line,) = lines(caplog)
    assert line.startswith("the sweep is not in wandb: ")


def test_nothing_is_logged_where_wandb_is_off(settings, tmp_path):
    log_sweep({**settings, "wandb": "off"}, "sweep7", "small", tmp_path, ROWS, AXES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_number_that_is_not_finite_is_never_the_best_nor_in_a_plot(value):
    rows = [{**ROWS[0], "fd_judge": value}, *ROWS[1:]]
    for order in (rows, rows[::-1]):
        assert best(order, AXES)["best/fd_judge"] == 2.9
    assert len(charts(rows, AXES)["fd_judge over guidance.scale"].table.data) == 4
    assert best([{"guidance": "cfg", "fd_judge": value}], ["guidance"]) == {}


@pytest.mark.parametrize("missing", ["null", None])
def test_a_null_beside_numbers_leaves_its_own_row_out_of_the_curve_alone(missing):
    rows = [*ROWS, {**ROWS[0], "guidance.scale": missing, "fd_judge": 1.0}]
    assert varied(rows, AXES) == ["guidance.scale"]
    found = charts(rows, AXES)
    assert len(found["fd_judge over guidance.scale"].table.data) == 5
    assert len(found["sweep"].data) == 6
