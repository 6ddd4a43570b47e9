"""Two processes measure what one does."""

import json

import pytest
from torch import multiprocessing

from tests.evaluation import processes

SUMMED = ("fd", "alignment")  # from sums that were added in another order
MEANS = (
    *("accuracy", "fd", "colour", "mask", "edges", "adherence", "avoidance", "alignment"),
    *("disc", "disc_colour", "edge_fidelity", "coarse_error", "stroke_fidelity"),
)


@pytest.mark.slow
def test_two_processes_with_odd_counts_report_what_one_does(tmp_path):
    alone, each = processes.found_by(0, 1)
    assert {name: len(values) for name, values in each.items()} == dict.fromkeys(MEANS, 51)
    for name, values in each.items():
        assert sum(values) / 51 == pytest.approx(alone[name]["value"], rel=1e-9)
    assert {entry["n"] for entry in alone.values()} == {51, 5, 25, 26}
    assert "few_biased_n5" in alone  # by the pictures of both
    assert len(alone) == 60
    multiprocessing.spawn(processes.one_of, (2, str(tmp_path)), nprocs=2)
    for rank in range(2):
        together, in_turn = json.loads((tmp_path / f"{rank}.json").read_text())
        assert in_turn.keys() == each.keys()
        for name, values in each.items():
            assert in_turn[name] == (pytest.approx(values, rel=1e-6) if name in SUMMED else values), name
        assert together.keys() == alone.keys()
        for name, entry in alone.items():
            assert together[name]["value"] == pytest.approx(entry["value"], rel=1e-6, abs=1e-9), name
            given, expected = (found["interval"] or () for found in (together[name], entry))
            assert given == pytest.approx(expected, rel=1e-6, abs=1e-9), name
            assert (together[name]["n"], together[name]["protocol"]) == (entry["n"], entry["protocol"])
