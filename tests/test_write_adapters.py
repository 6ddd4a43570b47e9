"""The notebook of a study of adapters: the share of the parameters and of a full training that a run has."""

import csv
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

HOME = Path(__file__).parents[1] / "experiments"
LOW = {"kinds": ["linear"], "names": None, "rank": 2}
FULL = {"method": "full"}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(HOME)
    yield importlib.import_module("write_adapters")
    for path in HOME.glob("*.py"):
        sys.modules.pop(path.stem, None)


def run(tmp_path: Path, tuning: dict, steps: int, scale: float, accuracy: float, prior: object = None):
    """Of a base of 100 parameters, beside which a low rank has 4."""
    left = tmp_path / f"{tuning.get('rank', 'full')}-{steps}-{scale}"
    left.mkdir(exist_ok=True)
    low = "kinds" in tuning
    counts = {"trainable": 4 if low else 100, "parameters": 104 if low else 100}
    (left / "model.json").write_text(json.dumps(counts))
    adapter = {"tuning": tuning, "trainer": {"steps": steps}, "scale": scale}
    metric = {"value": accuracy, "interval": [accuracy - 0.1, accuracy + 0.1], "n": 10, "protocol": "told"}
    stages = {"adapter": {"path": str(left), "key": left.name}, "metrics": {"key": "k"}}
    config = {"adapter": adapter, "prior": prior, "text": None, "seed": 0}
    return SimpleNamespace(config=config, stages=stages, metrics={"accuracy": metric})


@pytest.fixture
def runs(script: ModuleType, tmp_path):
    """From 0.2 of the base to 1.0 of the longest full training; given in no order."""
    left = [
        run(tmp_path, FULL, 800, 1.0, 1.0),
        run(tmp_path, LOW, 400, 1.0, 0.6),
        run(tmp_path, FULL, 400, 1.0, 0.8),
        run(tmp_path, LOW, 400, 0.0, 0.2),
    ]
    return sorted(left, key=script._place)


def test_a_share_is_of_the_way_from_the_base_to_the_longest_full_training(script, runs):
    assert [script._share(one, runs, "accuracy") for one in runs] == pytest.approx([0.0, 0.5, 0.75, 1.0])


def test_without_a_full_training_or_with_nothing_else_there_is_no_share(script, runs):
    assert script._share(runs[1], runs[:2], "accuracy") is None
    whole = [*runs[2:], run(Path(runs[0].stages["adapter"]["path"]).parent, FULL, 800, 0.0, 0.2)]
    assert script._share(whole[0], whole, "accuracy") is None


def test_the_table_has_a_row_a_run_and_the_base_first(script, runs):
    rows = script._table(runs, ["accuracy"]).splitlines()
    assert rows[0] == "| trained | rank | steps | scale | parameters | accuracy | of full |"
    assert rows[2:] == [
        "| linear | 2 | 400 | 0 | 4.0% | 0.2 | 0% |",
        "| linear | 2 | 400 | 1 | 4.0% | 0.6 | 50% |",
        "| all weights | – | 400 | 1 | 100.0% | 0.8 | 75% |",
        "| all weights | – | 800 | 1 | 100.0% | 1 | 100% |",
    ]


def test_the_file_has_every_number_with_its_share(script, runs, tmp_path):
    script._write_results(tmp_path / "results.csv", runs, ["accuracy"])
    with (tmp_path / "results.csv").open(encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    assert [row["share_of_full"] for row in rows] == ["0", "0.5", "0.75", "1"]
    assert [float(row["high"]) for row in rows] == pytest.approx([0.3, 0.7, 0.9, 1.1])


def test_a_prior_is_a_column_only_where_runs_differ_in_it(script, runs, tmp_path):
    beside = run(tmp_path, FULL, 800, 1.0, 1.0, prior={"weight": 1.0})
    assert "prior" not in script._told(runs[0], runs)
    assert script._told(beside, [*runs, beside])["prior"] == "1"
    assert script._told(runs[0], [*runs, beside])["prior"] == "none"
