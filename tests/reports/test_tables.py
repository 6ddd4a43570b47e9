import io
import re

import pytest

from condiff.reports.report import StageRow
from condiff.reports.tables import (
    COLOUR,
    PLAIN,
    duration,
    metrics_table,
    number,
    palette_for,
    stage_tree,
    sweep_table,
    table,
)

ROWS = [
    StageRow("data", "3f2a9c77", "cached"),
    StageRow(
        "autoencoder", "91bc0200", "run", "no artifact with autoencoder.method.kl_weight=0.01 (cached: 0.001)"
    ),
    StageRow("denoiser", "00c0ffee", "resumed", "at step 450"),
    StageRow("metrics", "abc", "run"),
]
TREE = """\
cfg_latent
├─ data         3f2a9c  cached
├─ autoencoder  91bc02  to run: no artifact with autoencoder.method.kl_weight=0.01 (cached: 0.001)
├─ denoiser     00c0ff  resumed at step 450
└─ metrics      abc     to run"""

METRICS = {
    "class_accuracy": {"value": 0.992, "n": 500, "protocol": "by the judge", "interval": [0.9797, 0.9969]},
    "fd_judge": {"value": 12.3456789, "n": 2000, "protocol": "float64", "interval": None},
}


def test_the_tree_says_what_will_happen_to_each_stage_and_why():
    assert stage_tree("cfg_latent", ROWS) == TREE


def test_after_a_run_the_tree_says_how_long_it_took():
    done = [
        StageRow("data", "3f2a9c", "cached", "", 0.04),
        StageRow("denoiser", "00c0ff", "run", "new", 118.7),
    ]
    assert stage_tree("s", done).splitlines()[1:] == [
        "├─ data      3f2a9c  cached, 0.0 s",
        "└─ denoiser  00c0ff  run: new, 1 min 59 s",
    ]


def test_only_the_last_of_equal_rows_closes_the_tree():
    branches = [line[0] for line in stage_tree("s", [ROWS[0], ROWS[0]]).splitlines()[1:]]
    assert branches == ["├", "└"]


def test_colour_changes_nothing_but_colour():
    coloured = stage_tree("cfg_latent", ROWS, COLOUR)
    assert coloured != TREE
    assert re.sub(r"\033\[\d+m", "", coloured) == TREE


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_that_were_not_asked_to_do_without(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert palette_for(Terminal()) is COLOUR
    assert palette_for(io.StringIO()) is PLAIN
    monkeypatch.setenv("NO_COLOR", "1")
    assert palette_for(Terminal()) is PLAIN


def test_metrics_stand_with_interval_n_and_protocol():
    assert metrics_table(METRICS) == (
        "metric          value          interval     n  protocol\n"
        "──────────────  ─────  ────────────────  ────  ────────────\n"
        "class_accuracy  0.992  [0.9797, 0.9969]   500  by the judge\n"
        "fd_judge        12.35                 –  2000  float64"
    )


def test_a_name_from_data_cannot_colour_or_break_the_table():
    shown = table(["a", "b"], [["x\033[31m\ny", "api_key=abc"]])
    assert "\033" not in shown
    assert len(shown.splitlines()) == 3
    assert "abc" not in shown


def test_a_table_without_rows_is_its_head():
    assert metrics_table({}).splitlines()[0] == "metric  value  interval  n  protocol"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3600, "1 h 00 min"),
        (7380, "2 h 03 min"),
    ],
)
def test_durations_are_told_in_units_of_their_size(seconds, shown):
    assert duration(seconds) == shown


def test_numbers_have_four_significant_digits():
    assert [number(v) for v in (0.98765, 6.1, 12345.6, 0.00012345)] == [
        "0.9877",
        "6.1",
        "12350",
        "0.0001234",
    ]


def test_a_sweep_is_a_table_of_what_differs_between_its_runs():
    names = ["guidance=cfg", "guidance=apg"]
    assert sweep_table(names, [{"fd": 2.0, "accuracy": 0.5}, {"fd": 12.3456}]).splitlines() == [
        "run              fd  accuracy",
        "────────────  ─────  ────────",
        "guidance=cfg      2  0.5",
        "guidance=apg  12.35  –",
    ]
