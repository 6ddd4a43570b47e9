"""What a search is told before anything is measured is what the metrics are called afterwards."""

from condiff.config.metric_names import reported, short
from condiff.evaluation.fidelity import Fidelity
from condiff.evaluation.measurement import FLOOR
from condiff.evaluation.parts import PARTS, REAL, SHUFFLED, USE
from tests.evaluation.processes import found_by, measurements


def names(nodes):
    return reported({"stages": ["metrics"], "metrics": {**nodes, "every": 0}})


def node(metric):
    return {"_target_": f"{type(metric).__module__}.{type(metric).__name__}"}


def test_a_measurement_gives_the_parts_that_its_class_names():
    entries, _ = found_by(0, 1)
    assert [short(name) for name in entries] == names(
        {k: node(metric) for k, metric in measurements().items()}
    )


def test_a_floor_says_so_at_its_end():
    metric = measurements()["is"]
    metric.parts = lambda: iter([("", 1.0, None), ("_std", 1.0, None)])
    assert (
        [*metric.entries(f"is{FLOOR}")] == names({f"is{FLOOR}": node(metric)}) == ["is_floor", "is_std_floor"]
    )


def test_the_parts_of_a_fidelity_are_those_that_reports_look_for():
    assert Fidelity.part_names == ("", *PARTS)
    assert Fidelity.told_without_caveat == (REAL, SHUFFLED)
    assert Fidelity.higher_of_parts == {REAL: None, SHUFFLED: None, USE: True}
