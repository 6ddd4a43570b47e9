"""Since when a condition is obeyed, told of curves whose jump is known."""

import pytest

from condiff.stages.obedience import drawn_as_watched, obeyed, since


def rows(name, values, floor, ceiling):
    ends = {f"{name}_real": ceiling, f"{name}_shuffled": floor}
    return [{"step": 20 * (k + 1), "loss": 0.1, name: value, **ends} for k, value in enumerate(values)]


def test_it_is_since_the_step_after_which_it_stays_nearer_to_the_ceiling():
    (line,) = obeyed([{"step": 3, "loss": 0.2}, *rows("iou", [0.1, 0.6, 0.2, 0.7, 0.9], 0.1, 0.99)])
    assert line == (
        "condition obeyed since step 80: iou 0.70, 0.90 in the end (shuffled 0.10, real 0.99); most between"
        " steps 20 and 40, from 0.10 to 0.60"
    )


def test_what_the_base_already_does_is_where_the_curve_begins():
    ends = {"iou_real": 1.0, "iou_shuffled": 0.2}
    (line,) = obeyed([{"step": 0, "iou": 0.2, **ends}, *rows("iou", [0.8, 0.9], 0.2, 1.0)])
    assert line.startswith("condition obeyed since step 20: iou 0.80, 0.90 in the end")
    assert line.endswith("most between steps 0 and 20, from 0.20 to 0.80")


def test_of_an_error_less_is_nearer():
    (line,) = obeyed(rows("colour_error", [0.4, 0.35, 0.04], 0.45, 0.0))
    assert line.startswith("condition obeyed since step 60: colour_error 0.04, 0.04 in the end")
    assert line.endswith("most between steps 40 and 60, from 0.35 to 0.04")


def test_only_a_quarter_of_the_way_at_once_is_told_as_a_jump():
    for name, floor, ceiling in (("iou", 0.2, 1.0), ("colour_error", 1.0, 0.2)):
        steep, even = (floor + share * (ceiling - floor) for share in (0.26, 0.24))
        (line,) = obeyed(rows(name, [floor, floor, steep], floor, ceiling))
        assert f"; most between steps 40 and 60, from {floor:.2f} to {steep:.2f}" in line
        for flat in ([floor, floor, even], [0.58, 0.58], [floor, 2 * floor - ceiling]):
            (line,) = obeyed(rows(name, flat, floor, ceiling))
            assert "most between" not in line
    (line,) = obeyed(rows("iou", [0.5, 0.5], 0.5, 0.5))
    assert "most between" not in line


def test_what_is_never_obeyed_is_told_too_and_what_was_not_measured_is_not():
    (line,) = obeyed(rows("iou", [0.1, 0.8, 0.2], 0.1, 0.99))
    assert line.startswith("condition not obeyed by step 60: iou 0.20 (shuffled 0.10, real 0.99)")
    assert obeyed([{"step": 3, "loss": 0.2}]) == []
    assert len(obeyed(rows("iou", [0.9], 0.1, 0.99))) == 1


def test_what_fits_the_hints_of_others_as_well_obeys_none():
    """As pictures full of edges do, of whose hints some are nearly empty."""
    near = rows("edge_f1", [0.67, 0.7, 0.8], 0.0, 1.0)
    for row, use in zip(near, (0.03, 0.24, 0.26), strict=True):
        row["edge_f1_use"] = use
    assert obeyed(near)[0].startswith("condition obeyed since step 60: edge_f1 0.80")
    assert obeyed(near[:2])[0].startswith("condition not obeyed by step 40: edge_f1 0.70")
    assert since(near[:2]) == {}
    fewer = [
        {**row, "error_use": use}
        for row, use in zip(rows("error", [0.4, 0.3], 2.0, 0.0), (0.4, 0.6), strict=True)
    ]
    assert since(fewer) == {"error_obeyed_since": 40}


def test_the_step_is_a_number_of_each_that_is_obeyed_in_the_end():
    found = since(rows("iou", [0.1, 0.6, 0.2, 0.7, 0.9], 0.1, 0.99))
    assert found == {"iou_obeyed_since": 80}
    assert since(rows("iou", [0.1, 0.8, 0.2], 0.1, 0.99)) == {}
    assert since([{"step": 3, "loss": 0.2, "logits_real": 0.1}]) == {}


CONTROL = {"_target_": "condiff.adapters.control.Even", "start": 0.0, "end": 1.0}


@pytest.mark.parametrize(
    ("own", "same"),
    [
        ({"scale": 1.0}, True),
        ({"scale": 1.0, "control": CONTROL}, True),
        ({"scale": 0.0, "control": CONTROL}, False),
        ({"scale": 1.0, "control": {**CONTROL, "end": 0.5}}, False),
        ({"scale": 1.0, "control": {**CONTROL, "_target_": "condiff.adapters.control.GuessOriginal"}}, False),
    ],
)
def test_what_was_seen_while_training_is_of_the_whole_control_alone(own, same):
    assert drawn_as_watched(own) == same
