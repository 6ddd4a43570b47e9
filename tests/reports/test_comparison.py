"""What follows from runs beside each other: the best, the front, the table of results."""

import csv
import re

import pytest
from run_folders import config_of, metrics_of

from condiff.reports.comparison import Comparison, Losses, evenly
from condiff.reports.comparison_axes import EACH, swept
from condiff.reports.comparison_losses import loss_plots, told_apart
from condiff.reports.comparison_plots import lines_over, metric_plots
from condiff.reports.comparison_results import results
from condiff.reports.comparison_tables import runs_table, settings_table
from condiff.reports.comparison_trade_offs import choice, front, trade_offs
from condiff.reports.curves import COLOURS
from condiff.reports.runs import Run

DIRECTIONS = {"class_accuracy": True, "fd_judge": False}
NUMBERS = {1.0: (0.90, 5.0), 1.5: (0.98, 2.4), 2.0: (0.99, 3.4), 5.0: (0.99, 10.0)}


def compared(runs, directions=DIRECTIONS):
    return Comparison("study", "why?", "python run.py", runs, directions)


def swept_runs(interval=0.0):
    return [
        Run(
            config_of(scale),
            metrics_of(accuracy, distance, interval=interval),
            {"metrics": {"key": f"k{scale}"}},
            folder=f"runs/{scale}",
        )
        for scale, (accuracy, distance) in NUMBERS.items()
    ]


def test_the_best_is_the_highest_where_more_is_better_and_the_lowest_where_less_is():
    best = compared(swept_runs()).best
    assert best["class_accuracy"].places == {2, 3}  # two are equal
    assert best["fd_judge"].places == {1}
    assert best["fd_judge"].near == frozenset()


def test_settings_whose_intervals_meet_that_of_the_best_are_not_told_apart():
    assert compared(swept_runs(interval=0.6)).best["fd_judge"].near == {2}
    assert compared(swept_runs(interval=0.4)).best["fd_judge"].near == frozenset()


def test_nothing_is_best_where_the_direction_is_unknown_or_all_are_alike():
    assert not compared(swept_runs(), {"fd_judge": None}).best["fd_judge"].places
    same = [Run(config_of(scale), metrics_of(0.9, 3.0), {}) for scale in (1.0, 2.0)]
    assert not compared(same).best["fd_judge"].places


def test_numbers_of_different_protocols_or_counts_are_never_ranked():
    runs = swept_runs()
    runs[0].metrics["fd_judge"]["protocol"] = "samples, judge cd"
    assert not compared(runs).best["fd_judge"].places
    few = [*swept_runs()[1:], Run(config_of(1.0), metrics_of(0.9, 5.0, n=100), {})]
    assert not compared(few).best["fd_judge"].places


def test_what_a_protocol_says_of_the_samples_alone_makes_no_difference():
    runs = swept_runs()
    for place, run in enumerate(runs):
        run.metrics["fd_judge"]["protocol"] = (
            f"fake against real; samples: 10 of folder{place}; train: 9 of d"
        )
    assert compared(runs).best["fd_judge"].places == {1}
    runs[0].metrics["fd_judge"]["protocol"] += "ifferent"
    assert not compared(runs).best["fd_judge"].places


def test_the_front_is_what_no_other_point_passes_in_both():
    #          0           1           2           3           4 equals 1, 5 is passed by 1
    points = [(5.0, 0.90), (2.4, 0.98), (3.4, 0.99), (10.0, 0.99), (2.4, 0.98), (2.4, 0.97)]
    assert front(points) == [1, 4, 2]
    assert front([(1.0, 1.0)]) == [0]


def test_a_trade_off_is_a_distance_against_what_speaks_for_samples():
    (one,) = trade_offs(compared(swept_runs()))
    assert (one.distance, one.quality) == ("fd_judge", "class_accuracy")
    assert one.front == [1, 2]
    assert trade_offs(compared(swept_runs(), {"fd_judge": False})) == []


def test_an_axis_is_what_settings_differ_in_alone_and_the_others_are_lines():
    runs = [
        Run(config_of(scale, steps=steps), metrics_of(0.9, scale), {})
        for scale in (1.0, 2.0)
        for steps in (8, 16)
    ]
    comparison = compared(runs)
    assert swept(comparison) == ["guidance.scale", "sampler.steps"]
    lines, left_out = lines_over(comparison, "guidance.scale", "fd_judge")
    assert {name: [(p.at, p.found.value) for p in line] for name, line in lines.items()} == {
        "steps 8": [(1.0, 1.0), (2.0, 2.0)],
        "steps 16": [(1.0, 1.0), (2.0, 2.0)],
    }
    assert left_out == 0


def test_settings_of_which_no_two_differ_in_one_thing_alone_stand_one_by_one():
    half = [(1.0, 8, 100), (1.0, 16, 200), (2.0, 8, 200), (2.0, 16, 100)]  # of a 2 x 2 x 2 design
    runs = [
        Run({**config_of(scale, steps=steps), "num_samples": n}, metrics_of(0.9, scale), {})
        for scale, steps, n in half
    ]
    comparison = compared(runs)
    assert swept(comparison) == [EACH]
    lines, _ = lines_over(comparison, EACH, "fd_judge")
    assert [place.at for place in lines[""]] == [setting.label for setting in comparison.settings]


def test_choices_of_which_few_are_there_in_most_lines_give_way_to_the_settings():
    """Four studies, one of which has four scales: of the 16 cells of the design 7 are there."""
    cells = [("swept", scale) for scale in (1.0, 2.0, 4.0, 8.0)] + [("a", 1.0), ("b", 2.0), ("c", 2.0)]
    runs = [Run({**config_of(scale), "name": name}, metrics_of(0.9, 1.0), {}) for name, scale in cells]
    assert swept(compared(runs)) == ["guidance.scale", EACH]
    full = [
        Run({**config_of(scale), "name": name}, metrics_of(0.9, 1.0), {})
        for name in "ab"
        for scale in (1.0, 2.0)
    ]
    assert swept(compared(full)) == ["name", "guidance.scale"]


def test_what_tells_settings_apart_stands_before_the_metrics_and_the_rest_behind():
    runs = [
        Run(
            {**config_of(2.0, steps=steps), "name": 60 * name, "width": width, "depth": width},
            metrics_of(0.9, k),
            {},
        )
        for k, (name, steps, width) in enumerate([("a", 8, 1), ("b", 16, 2), ("c", 16, 3)])
    ]
    comparison = compared(runs)
    metrics = ["class_accuracy ↑", "fd_judge ↓"]
    rest = ["sampler.steps", "width", "depth"]
    for table, names in (
        (settings_table, ["name", *metrics, *rest]),
        (runs_table, ["name", "seed", *metrics, *rest, "run folder", "metrics key"]),
    ):
        made = table(comparison)
        heads = re.findall(r'<button type="button">(.*?)</button>', made)
        assert [head.replace("<wbr>", "") for head in heads] == names
        for row in re.findall(r"<tr data-place=.*?</tr>", made):
            assert row.count("<td") == len(names)


def test_what_changes_together_with_an_axis_makes_no_lines_of_its_own():
    runs = [Run(config_of(scale, steps=int(8 * scale)), metrics_of(0.9, scale), {}) for scale in (1.0, 2.0)]
    lines, _ = lines_over(compared(runs), "guidance.scale", "fd_judge")
    assert [*lines] == [""]
    assert len(lines[""]) == 2


def test_at_most_ten_lines_are_drawn_and_the_rest_is_counted():
    runs = [
        Run(config_of(float(scale), steps=steps), metrics_of(0.9, scale), {})
        for scale in (1, 2)
        for steps in range(1, 26)
    ]
    lines, left_out = lines_over(compared(runs), "guidance.scale", "fd_judge")
    assert (len(lines), left_out) == (10, 15)
    assert next(iter(lines)) == "steps 1"
    assert [*lines][-1] == "steps 25"


def test_places_are_chosen_evenly_with_both_ends():
    assert evenly(3, 5) == [0, 1, 2]
    assert evenly(9, 3) == [0, 4, 8]
    assert evenly(9, 1) == [0]


def test_a_training_is_named_by_what_its_runs_have_and_others_have_not():
    runs = [Run(config_of(scale, seed), metrics_of(0.9, 1.0), {}) for seed in (0, 1) for scale in (1.0, 2.0)]
    assert told_apart(compared(runs), runs[2:], runs[:2]) == "seed 1"


def test_results_have_a_line_for_each_run_and_metric():
    rows = list(csv.DictReader(results(compared(swept_runs(interval=0.5))).splitlines()))
    assert len(rows) == 4 * 3
    assert rows[4] == {
        "guidance.scale": "1.5",
        "seed": "0",
        "metric": "fd_judge",
        "value": "2.4",
        "low": "1.9",
        "high": "2.9",
        "n": "500",
        "protocol": "samples, judge ab",
        "run": "runs/1.5",
        "metrics_key": "k1.5",
        "pairing": "",
        **dict.fromkeys(("less_run", "difference", "difference_low", "difference_high", "discordant"), ""),
        **dict.fromkeys(("mean_difference", "samples_low", "samples_high", "trainings"), ""),
        **dict.fromkeys(("trainings_low", "trainings_high", "verdict"), ""),
    }
    assert (rows[5]["metric"], rows[5]["low"]) == ("fd_judge_floor", "")


def test_results_hide_secrets():
    runs = [
        Run({**config_of(), "data": {"api_key": key}}, metrics_of(0.9, 1.0), {})
        for key in ("hunter2a", "hunter2b")
    ]
    assert "hunter2" not in results(compared(runs))


@pytest.mark.parametrize("metric", ["class_accuracy", "fd_judge"])
def test_a_floor_is_the_mean_over_runs_and_no_metric(metric):
    comparison = compared(swept_runs())
    assert comparison.metrics == ["class_accuracy", "fd_judge"]
    assert comparison.floor(metric) == (1.0 if metric == "fd_judge" else None)


def test_what_loses_for_certain_what_it_may_not_gain_is_no_choice():
    """The last of the front is right no more often than can be told, and surely farther from the data."""
    numbers = {1.0: (0.90, 2.0), 2.0: (0.98, 4.0), 5.0: (0.99, 10.0)}
    runs = [
        Run(config_of(scale), metrics_of(accuracy, distance, interval=0.02), {}, folder=f"runs/{scale}")
        for scale, (accuracy, distance) in numbers.items()
    ]
    (one,) = trade_offs(compared(runs))
    assert (one.front, choice(compared(runs), one)) == ([0, 1, 2], [0, 1])
    (sure,) = trade_offs(compared([*runs[:2], Run(config_of(5.0), metrics_of(0.99, 10.0, interval=0.0), {})]))
    assert sure.front == [0, 1, 2]


def test_a_null_on_an_axis_of_numbers_is_in_the_table_and_named_below_the_curve():
    runs = [
        Run({**config_of(2.0), "guidance": {"_target_": "g.A", "low": low}}, metrics_of(0.9, distance), {})
        for low, distance in ((None, 2.6), (0.2, 3.4), (0.5, 4.4))
    ]
    comparison = compared(runs)
    assert swept(comparison) == ["guidance.low"]
    lines, _ = lines_over(comparison, "guidance.low", "fd_judge")
    assert [place.at for own in lines.values() for place in own] == [0.2, 0.5]
    captions = {plot.name: plot.caption for plot in metric_plots(comparison)}
    assert captions["fd_judge_over_guidance_low"] == "Not on the axis: low null: 2.6."
    assert settings_table(comparison).count(">null<") == 1
    assert "–" not in settings_table(comparison)


def test_a_loss_that_was_logged_once_is_a_point():
    runs = swept_runs()

    def plot(rows):
        (found,) = loss_plots(Comparison("s", "", "", runs, {}, losses=[Losses("denoiser", rows, runs)]))
        return found.svg

    once, more = ([{"step": k, "loss": 1.0 + k} for k in range(1, n)] for n in (2, 4))
    markers = [len(re.findall(rf'<use [^>]*style="fill: {COLOURS[0]}', plot(rows))) for rows in (once, more)]
    assert markers == [1, 0]


def scales_of_both():
    """Runs over the scales of an adapter and of a guidance, by a fidelity with its ceiling and floor."""
    runs = []
    for scale in (0.0, 1.0):
        for guided in (1.0, 3.0):
            config = {**config_of(guided), "adapter": {"_target_": "Adapter", "scale": scale}}
            values = {"iou": 0.2 + scale / 2, "iou_real": 1.0, "iou_shuffled": 0.2, "iou_use": scale / 2}
            entry = {"n": 9, "protocol": "samples with their hints", "interval": None}
            metrics = {name: {**entry, "value": value} for name, value in values.items()}
            runs.append(Run(config, metrics, {"metrics": {"key": f"{scale}{guided}"}}))
    return compared(runs, {"iou": True, "iou_use": True})


def test_of_two_axes_whose_paths_end_alike_each_is_named_in_full():
    comparison = scales_of_both()
    for axis, other in (("adapter.scale", "guidance"), ("guidance.scale", "adapter")):
        lines, _ = lines_over(comparison, axis, "iou")
        assert [name.rsplit(" ", 1)[0] for name in lines] == [f"{other} scale"] * 2


def test_the_ceiling_and_the_floor_of_a_fidelity_are_lines_in_its_plot_and_have_none():
    plots = {plot.name: plot for plot in metric_plots(scales_of_both())}
    own = [f"{name}_over_{axis}_scale" for axis in ("adapter", "guidance") for name in ("iou", "iou_use")]
    assert sorted(plots) == sorted(own)
    for label in ("real pictures 1", "hints of others 0.2"):
        assert label in plots["iou_over_adapter_scale"].svg
        assert label not in plots["iou_use_over_adapter_scale"].svg
